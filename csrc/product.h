// Products of rows with a packed weight: panels of a few vectors of columns, each kept whole, so that a
// tile of rows and columns stays in registers from the first number of the sum to the last.
#pragma once

#include "core.h"
#include "vec.h"

namespace ostinato {
namespace {

constexpr int MOST_VECTORS = LANES == 16 ? 4 : 2;  // of a panel
constexpr int MOST_ROWS = LANES == 16 ? 12 : 6;    // of a tile

inline int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// As many rows as leave the registers full: 24 sums with 32 registers, 12 with 16.
constexpr int rows_of(int vectors) {
  return LANES != 16 ? 6 : vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
}

inline Tiles tiles(int64_t width) {
  int64_t vectors = up(width, LANES), panels = up(vectors, MOST_VECTORS), v = up(vectors, panels);
  if (v < 1) v = 1;
  int64_t panel = v * LANES, most = up(64, panel);
  return {panel, panel * least(most, panels < 1 ? 1 : panels), rows_of((int)v)};
}

// A panel of at most `width` columns of B [K, N], element (k, n) at base[k·sk + n·sn]: [K][width], zeros
// beyond its `w` columns.
inline void pack_panel(int64_t k, int64_t width, int64_t w, const float* base, int64_t sk, int64_t sn,
                       float* out) {
  if (sn == 1) {
    for (int64_t i = 0; i < k; ++i, out += width) {
      std::memcpy(out, base + i * sk, w * 4);
      for (int64_t j = w; j < width; ++j) out[j] = 0;
    }
    return;
  }
  for (int64_t j = w; j < width; ++j)
    for (int64_t i = 0; i < k; ++i) out[i * width + j] = 0;
  // The columns lie together: square by square, and what is left a few at a time: lines are read once.
  const int64_t squares = sk == 1 && TURNS ? k / LANES * LANES : 0, across = w / LANES * LANES;
  for (int64_t i = 0; i < squares; i += LANES)
    for (int64_t j = 0; j < across; j += LANES) {
      Vec square[LANES];
      for (int l = 0; l < LANES; ++l) square[l] = load(base + i + (j + l) * sn);
      turn(square);
      for (int l = 0; l < LANES; ++l) store(out + (i + l) * width + j, square[l]);
    }
  for (int64_t i0 = 0; i0 < k; i0 += 16)
    for (int64_t j = i0 + 16 <= squares ? across : 0; j < w; ++j)
      for (int64_t i = j < across && i0 < squares ? squares : i0; i < least(k, i0 + 16); ++i)
        out[i * width + j] = base[i * sk + j * sn];
}

// B [K, N]  →  panels [N / panel][K][panel].
inline void pack(const Pack& b, const float* base, int64_t sk, int64_t sn, float* arena, int threads) {
  float* out = arena + b.to;
  (void)threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) if (threads > 1 && b.k * b.n > 1 << 14)
#endif
  for (int64_t n = 0; n < b.n; n += b.width)
    pack_panel(b.k, b.width, least(b.width, b.n - n), base + n * sn, sk, sn, out + n * b.k);
}

struct Terms {  // of one sum: rows of A, a panel of B
  const float* a;
  int64_t ra, k;
  const float* b;
};

struct Ahead {  // lines of memory that are needed soon
  static constexpr int MOST = 768;
  const char* line[MOST];
  int count = 0, next = 0, each = 0;
  void fetch() {
    for (int n = each; n > 0 && next < count; --n) __builtin_prefetch(line[next++], 1);
  }
};

struct Ending {  // what becomes of a sum
  float* out;
  int64_t ro;
  const float* add[ADDENDS];
  int64_t ra[ADDENDS];
  int adds, activation;
  float number;
};

enum { NOTHING, SIGMOID, TANH, RELU };

inline Vec activated(Vec a, int activation) {
  switch (activation) {
    case SIGMOID: return sigmoid(a);
    case TANH: return hyperbolic_tangent(a);
    case RELU: return choose(a < 0, Vec{}, a);
    default: return a;
  }
}

template <int R, int V>
void sums(const Terms* terms, int count, const Ending& end, int64_t width, Ahead& ahead) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v] = Vec{};
  for (int t = 0; t < count; ++t) {
    const float* b = terms[t].b;
    const float* a = terms[t].a;
    const int64_t ra = terms[t].ra, K = terms[t].k;
    auto multiply = [&](int64_t k) {
      Vec row[V];
      for (int v = 0; v < V; ++v) row[v] = load(b + v * LANES);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        float x = a[r * ra + k];
        for (int v = 0; v < V; ++v) sum[r][v] += x * row[v];
      }
      b += V * LANES;
    };
    int64_t k = 0;
    for (; k + 8 <= K; k += 8) {
      for (int i = 0; i < 8; ++i) multiply(k + i);
      ahead.fetch();
    }
    for (; k < K; ++k) multiply(k);
  }
  const int whole = (int)least(V, width / LANES), rest = (int)(width - whole * LANES);
  for (int r = 0; r < R; ++r) {
    Vec got[V];
    for (int v = 0; v < V; ++v) got[v] = sum[r][v] + end.number;
    for (int i = 0; i < end.adds; ++i) {
      const float* add = end.add[i] + r * end.ra[i];
      for (int v = 0; v < whole; ++v) got[v] += load(add + v * LANES);
      if (rest > 0 && whole < V) got[whole] += load_part(add + whole * LANES, rest);
    }
    if (end.activation)
      for (int v = 0; v < V; ++v) got[v] = activated(got[v], end.activation);
    float* out = end.out + r * end.ro;
    for (int v = 0; v < whole; ++v) store(out + v * LANES, got[v]);
    if (rest > 0 && whole < V) store_part(out + whole * LANES, got[whole], rest);
  }
}

typedef void (*Sums)(const Terms*, int, const Ending&, int64_t, Ahead&);

template <int V>
Sums sums_of(int64_t rows) {
  switch (rows) {
    case 1: return sums<1, V>;
    case 2: return sums<2, V>;
    case 3: return sums<3, V>;
    case 4: return sums<4, V>;
    case 5: return sums<5, V>;
    case 6: return sums<6, V>;
  }
  if constexpr (LANES == 16 && V < 4) {
    if (rows == 7) return sums<7, V>;
    if (rows == 8) return sums<8, V>;
  }
  if constexpr (LANES == 16 && V < 3) {
    if (rows == 9) return sums<9, V>;
    if (rows == 10) return sums<10, V>;
    if (rows == 11) return sums<11, V>;
    if (rows == 12) return sums<12, V>;
  }
  return nullptr;
}

inline Sums kernel(int64_t rows, int64_t panel) {
  switch (panel / LANES) {
    case 1: return sums_of<1>(rows);
    case 2: return sums_of<2>(rows);
#if LANES == 16
    case 3: return sums_of<3>(rows);
    case 4: return sums_of<4>(rows);
#endif
  }
  return nullptr;
}

}  // namespace
}  // namespace ostinato
