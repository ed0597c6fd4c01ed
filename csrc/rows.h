// The handlers of operations on tiles: number by number, and those that need a whole row.
#pragma once

#include "call.h"
#include "images.h"
#include "operations.h"
#include "vec.h"

namespace ostinato {
namespace {

inline Vec gelu_inner(Vec a) { return 0.79788456080286536f * (a + 0.044715f * a * a * a); }

inline Vec dsilu(Vec a) {
  Vec s = sigmoid(a);
  return s * (1.0f + a * (1.0f - s));
}

inline Vec dgelu(Vec a) {
  Vec density = 0.39894228040143268f * exponential(-0.5f * a * a);
  return 0.5f * (1.0f + error_function(a * 0.70710678118654752f)) + a * density;
}

inline Vec dgelu_tanh(Vec a) {
  Vec t = hyperbolic_tangent(gelu_inner(a));
  Vec inner = 0.79788456080286536f * (1.0f + 3 * 0.044715f * a * a);
  return 0.5f * (1.0f + t) + 0.5f * a * (1.0f - t * t) * inner;
}

// A chain of numbers a lane: several vectors at once keep the processor from waiting for one.
template <class F, int N, int V>
inline void some(const F& f, const float* const* in, float* out, int64_t j) {
  Vec a[V], b[V], c[V], d[V], result[V];
  for (int v = 0; v < V; ++v) {
    int64_t at = j + v * LANES;
    a[v] = load(in[0] + at);
    if (N > 1) b[v] = load(in[1] + at);
    if (N > 2) c[v] = load(in[2] + at);
    if (N > 3) d[v] = load(in[3] + at);
  }
  for (int v = 0; v < V; ++v) result[v] = f(a[v], b[v], c[v], d[v]);
  for (int v = 0; v < V; ++v) store(out + j + v * LANES, result[v]);
}

template <class F, int N>
void pointwise(const Call& call) {
  const F f{call.number[0], call.number[1], call.number[2], call.number[3]};
  const int64_t width = call.width;
  for (int64_t r = 0; r < call.rows; ++r) {
    const float* in[N];
    for (int i = 0; i < N; ++i) in[i] = call.in[i] + r * call.ri[i];
    float* out = call.out[0] + r * call.ro[0];
    int64_t j = 0;
    for (; j + 4 * LANES <= width; j += 4 * LANES) some<F, N, 4>(f, in, out, j);
    for (; j + LANES <= width; j += LANES) some<F, N, 1>(f, in, out, j);
    if (int rest = (int)(width - j); rest > 0) {
      Vec part[4]{};
      for (int i = 0; i < N; ++i) part[i] = load_part(in[i] + j, rest);
      store_part(out + j, f(part[0], part[1], part[2], part[3]), rest);
    }
  }
}

#define OSTINATO_FUNCTION(NAME, N, EXPRESSION)               \
  struct NAME##_of {                                         \
    float p, q, r, s;                                        \
    Vec operator()(Vec a, Vec b, Vec c, Vec d) const {       \
      (void)b, (void)c, (void)d;                             \
      return EXPRESSION;                                     \
    }                                                        \
  };
OSTINATO_POINTWISE(OSTINATO_FUNCTION)
#undef OSTINATO_FUNCTION

// Into one row, all the rows; that row stays where it is.
template <int N>
inline void accumulated(const Call& c) {
  for (int64_t r = 0; r < c.rows; ++r) {
    const float* a = c.in[0] + r * c.ri[0];
    const float* b = N > 1 ? c.in[1] + r * c.ri[1] : nullptr;
    across(c.width, [&](int64_t j, int n) {
      Vec each = some_of(a + j, n);
      if (N > 1) each *= some_of(b + j, n);
      put_some(c.out[0] + j, some_of(c.out[0] + j, n) + each, n);
    });
  }
}

inline void accumulate(const Call& c) { accumulated<1>(c); }
inline void accumulate_product(const Call& c) { accumulated<2>(c); }

// One number a row, in every column of a tile.
inline void spread(const Call& c) {
  for (int64_t r = 0; r < c.rows; ++r) {
    const Vec a = splat(c.in[0][r * c.ri[0]]);
    float* out = c.out[0] + r * c.ro[0];
    across(c.width, [&](int64_t j, int n) { put_some(out + j, a, n); });
  }
}

// Of each group of a row, `number[0]` numbers long.
inline void sum(const Call& c) {
  const int64_t group = (int64_t)c.number[0], groups = c.width / group;
  for (int64_t r = 0; r < c.rows; ++r)
    for (int64_t g = 0; g < groups; ++g) {
      const float* a = c.in[0] + r * c.ri[0] + g * group;
      Vec all{};
      across(group, [&](int64_t j, int n) { all += some_of(a + j, n); });
      c.out[0][r * c.ro[0] + g] = total(all);
    }
}

// Each number of a row, `number[0]` times.
inline void stretch(const Call& c) {
  const int64_t times = (int64_t)c.number[0], count = c.width / times;
  for (int64_t r = 0; r < c.rows; ++r)
    for (int64_t i = 0; i < count; ++i) {
      const Vec a = splat(c.in[0][r * c.ri[0] + i]);
      float* out = c.out[0] + r * c.ro[0] + i * times;
      across(times, [&](int64_t j, int n) { put_some(out + j, a, n); });
    }
}

// (a − mean) · rstd, and both: a variance over n numbers, `number[0]` added to it.
inline void standardise(const Call& c) {
  const float each = 1.0f / (float)c.width;
  for (int64_t r = 0; r < c.rows; ++r) {
    const float* a = c.in[0] + r * c.ri[0];
    float* out = c.out[0] + r * c.ro[0];
    Vec all{}, squares{};
    across(c.width, [&](int64_t j, int n) { all += some_of(a + j, n); });
    const float mean = total(all) * each;
    across(c.width, [&](int64_t j, int n) {
      Vec off = some_of(a + j, n) - mean;
      if (n < LANES)
        for (int l = n; l < LANES; ++l) off[l] = 0;
      squares += off * off;
    });
    const float rstd = 1.0f / std::sqrt(total(squares) * each + c.number[0]);
    across(c.width, [&](int64_t j, int n) { put_some(out + j, (some_of(a + j, n) - mean) * rstd, n); });
    c.out[1][r * c.ro[1]] = mean;
    c.out[2][r * c.ro[2]] = rstd;
  }
}

// rstd · (g − mean of g − x · mean of g·x), where x = (a − mean) · rstd.
inline void dstandardise(const Call& c) {
  const float each = 1.0f / (float)c.width;
  for (int64_t r = 0; r < c.rows; ++r) {
    const float *g = c.in[0] + r * c.ri[0], *a = c.in[1] + r * c.ri[1];
    const float mean = c.in[2][r * c.ri[2]], rstd = c.in[3][r * c.ri[3]];
    float* out = c.out[0] + r * c.ro[0];
    Vec flat{}, tilted{};
    across(c.width, [&](int64_t j, int n) {
      Vec each_g = some_of(g + j, n);  // zero beyond the end
      flat += each_g;
      tilted += each_g * ((some_of(a + j, n) - mean) * rstd);
    });
    const float m = total(flat) * each, t = total(tilted) * each;
    across(c.width, [&](int64_t j, int n) {
      Vec x = (some_of(a + j, n) - mean) * rstd;
      put_some(out + j, rstd * (some_of(g + j, n) - m - x * t), n);
    });
  }
}

inline void softmax(const Call& c) {
  for (int64_t r = 0; r < c.rows; ++r) {
    const float* a = c.in[0] + r * c.ri[0];
    float* out = c.out[0] + r * c.ro[0];
    float most = -INFINITY, all = 0;
    for (int64_t j = 0; j < c.width; ++j)
      if (a[j] > most || a[j] != a[j]) most = a[j];
    across(c.width, [&](int64_t j, int n) { put_some(out + j, exponential(some_of(a + j, n) - most), n); });
    for (int64_t j = 0; j < c.width; ++j) all += out[j];
    across(c.width, [&](int64_t j, int n) { put_some(out + j, some_of(out + j, n) / all, n); });
  }
}

inline void dsoftmax(const Call& c) {
  for (int64_t r = 0; r < c.rows; ++r) {
    const float *g = c.in[0] + r * c.ri[0], *y = c.in[1] + r * c.ri[1];
    float* out = c.out[0] + r * c.ro[0];
    Vec all{};
    across(c.width, [&](int64_t j, int n) { all += some_of(g + j, n) * some_of(y + j, n); });
    const float met = total(all);
    across(c.width,
           [&](int64_t j, int n) { put_some(out + j, some_of(y + j, n) * (some_of(g + j, n) - met), n); });
  }
}

typedef void (*Handler)(const Call&);

const Handler HANDLERS[] = {
#define OSTINATO_HANDLER(NAME, N, EXPRESSION) pointwise<NAME##_of, N>,
    OSTINATO_POINTWISE(OSTINATO_HANDLER)
#undef OSTINATO_HANDLER
#define OSTINATO_HANDLER(NAME, READS, WRITES) NAME,
    OSTINATO_ROWWISE(OSTINATO_HANDLER)
#undef OSTINATO_HANDLER
};

}  // namespace
}  // namespace ostinato
