// What a handler is called with: rows of what it reads and writes.
#pragma once

#include "core.h"
#include "vec.h"

namespace ostinato {
namespace {

struct Call {
  const float* in[INPUTS];
  int64_t ri[INPUTS];
  float* out[OUTPUTS];
  int64_t ro[OUTPUTS];
  int64_t rows, width;
  const float* number;
};

// A row, vector by vector; beyond its end zeros are read, and `n` says how many lanes count.
template <class F>
inline void across(int64_t width, F f) {
  int64_t j = 0;
  for (; j + LANES <= width; j += LANES) f(j, LANES);
  if (j < width) f(j, (int)(width - j));
}

inline Vec some_of(const float* p, int n) { return n == LANES ? load(p) : load_part(p, n); }
inline void put_some(float* p, Vec a, int n) { n == LANES ? store(p, a) : store_part(p, a, n); }

}  // namespace
}  // namespace ostinato
