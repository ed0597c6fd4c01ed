// Convolutions of images, a row of the batch each: an image is planes of H × W numbers, one after another.
// `pad` lays zeros around it, so that `conv` meets every place alike.
#pragma once

#include "call.h"
#include "vec.h"

namespace ostinato {
namespace {

// What both are told in numbers. Turned, the gradient of what was put out is read, with the kernel seen
// from the other side, and that of the image made.
struct Image {
  int64_t groups, in, out;  // planes of a group
  int64_t height, width;    // of what is read
  int64_t kernel[2], apart[2], padding[2];
  bool turned;

  explicit Image(const float* n)
      : groups((int64_t)n[0]), in((int64_t)n[1]), out((int64_t)n[2]),
        height((int64_t)n[3]), width((int64_t)n[4]), turned(n[11] != 0) {
    for (int i = 0; i < 2; ++i) {
      kernel[i] = (int64_t)n[5 + i];
      apart[i] = (int64_t)n[7 + i];
      padding[i] = turned ? reach(i) - (int64_t)n[9 + i] : (int64_t)n[9 + i];
    }
  }

  int64_t reach(int i) const { return apart[i] * (kernel[i] - 1); }
  int64_t padded_height() const { return height + 2 * padding[0]; }
  int64_t padded_width() const { return width + 2 * padding[1]; }
  int64_t taps() const { return kernel[0] * kernel[1]; }
  int64_t from_in() const { return turned ? out * taps() : taps(); }  // plane to plane of the weight
  int64_t from_out() const { return turned ? taps() : in * taps(); }
};

inline void pad(const Call& c) {
  const Image image(c.number);
  const int64_t H = image.padded_height(), W = image.padded_width();
  for (int64_t r = 0; r < c.rows; ++r) {
    const float* from = c.in[0] + r * c.ri[0];
    float* to = c.out[0] + r * c.ro[0];
    std::memset(to, 0, c.width * 4);
    for (int64_t p = 0; p < image.groups * image.in; ++p)
      for (int64_t y = 0; y < image.height; ++y)
        std::memcpy(to + (p * H + y + image.padding[0]) * W + image.padding[1],
                    from + (p * image.height + y) * image.width, image.width * 4);
  }
}

// N planes that are put out, V vectors of one line of each, `count` numbers of which there are.
template <int N, int V>
inline void line(const Image& image, const float* from, const float* w, float* to, int64_t plane,
                 int64_t count) {
  const int64_t H = image.padded_height(), W = image.padded_width(), taps = image.taps();
  const int64_t from_in = image.from_in(), from_out = image.from_out();
  Vec sum[N][V]{};
  for (int64_t p = 0; p < image.in; ++p)
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t y = tap / image.kernel[1] * image.apart[0], x = tap % image.kernel[1] * image.apart[1];
      const float* weight = w + p * from_in + (image.turned ? taps - 1 - tap : tap);
      Vec read[V];
      for (int v = 0; v < V; ++v) read[v] = load(from + (p * H + y) * W + x + v * LANES);
      for (int n = 0; n < N; ++n)
        for (int v = 0; v < V; ++v) sum[n][v] += weight[n * from_out] * read[v];
    }
  for (int n = 0; n < N; ++n)
    for (int v = 0; v < V; ++v)
      if (const int64_t left = count - v * LANES; left > 0)
        put_some(to + n * plane + v * LANES, sum[n][v], left < LANES ? (int)left : LANES);
}

template <int N>
inline void planes(const Image& image, const float* from, const float* w, float* to) {
  const int64_t H = image.padded_height() - image.reach(0), W = image.padded_width() - image.reach(1);
  for (int64_t y = 0; y < H; ++y)
    for (int64_t x = 0; x < W; x += 2 * LANES) {
      const float* here = from + y * image.padded_width() + x;
      if (W - x > LANES)
        line<N, 2>(image, here, w, to + y * W + x, H * W, W - x);
      else
        line<N, 1>(image, here, w, to + y * W + x, H * W, W - x);
    }
}

inline void conv(const Call& c) {
  constexpr int N = LANES == 16 ? 8 : 4;
  const Image image(c.number);
  const int64_t read = image.padded_height() * image.padded_width();
  const int64_t put = (image.padded_height() - image.reach(0)) * (image.padded_width() - image.reach(1));
  for (int64_t r = 0; r < c.rows; ++r)
    for (int64_t g = 0; g < image.groups; ++g) {
      const float* from = c.in[0] + r * c.ri[0] + g * image.in * read;
      const float* w = c.in[1] + g * image.in * image.out * image.taps();
      float* to = c.out[0] + r * c.ro[0] + g * image.out * put;
      int64_t n = 0;
      for (; n + N <= image.out; n += N) planes<N>(image, from, w + n * image.from_out(), to + n * put);
      for (; n < image.out; ++n) planes<1>(image, from, w + n * image.from_out(), to + n * put);
    }
}

}  // namespace
}  // namespace ostinato
