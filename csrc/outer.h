// Products over all rows of many steps: the gradient of a weight.
#pragma once

#include "product.h"

namespace ostinato {
namespace {

constexpr int64_t SLICE = 512;  // rows of A and B whose panels stay in the second cache

// A tile of C, added to: R columns of A, rows by rows, against a panel of B.
template <int R, int V>
void added(int64_t k, const float* a, const float* b, float* c, int64_t rc, int64_t width) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      const int64_t n = width - v * LANES;
      const float* at = c + r * rc + v * LANES;
      sum[r][v] = n >= LANES ? load(at) : n > 0 ? load_part(at, (int)n) : Vec{};
    }
#pragma GCC unroll 4
  for (int64_t i = 0; i < k; ++i, a += R, b += V * LANES) {
    Vec row[V];
    for (int v = 0; v < V; ++v) row[v] = load(b + v * LANES);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] += a[r] * row[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      const int64_t n = width - v * LANES;
      float* at = c + r * rc + v * LANES;
      if (n >= LANES)
        store(at, sum[r][v]);
      else if (n > 0)
        store_part(at, sum[r][v], (int)n);
    }
}

typedef void (*Added)(int64_t, const float*, const float*, float*, int64_t, int64_t);

template <int V>
Added added_of(int64_t rows) {
  switch (rows) {
    case 1: return added<1, V>;
    case 2: return added<2, V>;
    case 3: return added<3, V>;
    case 4: return added<4, V>;
    case 5: return added<5, V>;
    case 6: return added<6, V>;
  }
  if constexpr (LANES == 16 && V < 4) {
    if (rows == 7) return added<7, V>;
    if (rows == 8) return added<8, V>;
  }
  if constexpr (LANES == 16 && V < 3) {
    if (rows == 9) return added<9, V>;
    if (rows == 10) return added<10, V>;
    if (rows == 11) return added<11, V>;
    if (rows == 12) return added<12, V>;
  }
  return nullptr;
}

inline Added adding(int64_t rows, int64_t panel) {
  switch (panel / LANES) {
    case 1: return added_of<1>(rows);
    case 2: return added_of<2>(rows);
#if LANES == 16
    case 3: return added_of<3>(rows);
    case 4: return added_of<4>(rows);
#endif
  }
  return nullptr;
}

// Some panels of each C += A' B, with A [K, M] and B [K, N] in common; `sums` [N] += the rows of B.
inline void panels_of_outers(const Outer* outers, int count, int64_t n, int64_t k, const float* b,
                             int64_t rb, float* sums, float* scratch, int64_t from, int64_t to) {
  const Tiles size = tiles(n);
  float *packed_b = scratch, *packed_a = scratch + SLICE * 64;
  for (int64_t k0 = 0; k0 < k; k0 += SLICE) {
    const int64_t slice = least(SLICE, k - k0);
    float* out = packed_a;
    for (int i = 0; i < count; ++i) {
      const Outer& each = outers[i];
      const int64_t parts = up(each.m, size.rows);
      for (int64_t p = 0; p < parts; ++p) {
        const int64_t m0 = each.m * p / parts, rows = each.m * (p + 1) / parts - m0;
        for (int64_t j = k0; j < k0 + slice; ++j) {
          const float* row = each.a + (each.rows ? each.rows[j] : j) * each.ra + m0;
          for (int64_t r = 0; r < rows; ++r) *out++ = row[r];
        }
      }
    }
    for (int64_t j = from * size.panel; j < least(n, to * size.panel); j += size.panel) {
      const int64_t width = least(size.panel, n - j);
      pack_panel(slice, size.panel, width, b + k0 * rb + j, rb, 1, packed_b);
      if (sums)
        for (int64_t v = 0; v * LANES < width; ++v) {
          Vec all{};
          for (int64_t i = 0; i < slice; ++i) all += load(packed_b + i * size.panel + v * LANES);
          const int lanes = (int)least(LANES, width - v * LANES);
          for (int l = 0; l < lanes; ++l) sums[j + v * LANES + l] += all[l];
        }
      const float* in = packed_a;
      for (int i = 0; i < count; ++i) {
        const Outer& each = outers[i];
        const int64_t parts = up(each.m, size.rows);
        for (int64_t p = 0; p < parts; ++p) {
          const int64_t m0 = each.m * p / parts, rows = each.m * (p + 1) / parts - m0;
          // The next tile of C, while this one is summed.
          const int64_t next = m0 + rows, last = least(each.m, next + size.rows);
          for (int64_t r = next; r < last; ++r)
            for (int64_t v = 0; v < width; v += 16)
              __builtin_prefetch(each.c + r * each.rc + j + v, 1);
          adding(rows, size.panel)(slice, in, packed_b, each.c + m0 * each.rc + j, each.rc, width);
          in += slice * rows;
        }
      }
    }
  }
}

// Room that each thread needs for so many columns of all A together.
inline int64_t outer_scratch(int64_t m) { return SLICE * (m + 64) + 64; }

void outer(const Outer* outers, int count, int64_t n, int64_t k, const float* b, int64_t rb, float* sums,
           float* scratch, int threads) {
  const int64_t panels = up(n, tiles(n).panel);
  int64_t m = 0;
  for (int i = 0; i < count; ++i) m += outers[i].m;
  (void)threads, (void)m;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    const int64_t t = omp_get_thread_num(), all = omp_get_num_threads();
    panels_of_outers(outers, count, n, k, b, rb, sums, scratch + t * outer_scratch(m), panels * t / all,
                     panels * (t + 1) / all);
  }
#else
  panels_of_outers(outers, count, n, k, b, rb, sums, scratch, 0, panels);
#endif
}

}  // namespace
}  // namespace ostinato
