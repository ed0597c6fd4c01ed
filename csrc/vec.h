// A vector of floats, and the functions that torch has of one number, LANES at a time. GCC's and
// Clang's vector extensions: one source for every instruction set.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#ifndef LANES
#define LANES 4
#endif

namespace ostinato {
namespace {  // each instruction set has functions of its own, by the same names

typedef float Vec __attribute__((vector_size(LANES * 4)));
typedef int32_t Bits __attribute__((vector_size(LANES * 4)));

inline Vec splat(float a) { return Vec{} + a; }

inline Vec load(const float* p) {
  Vec a;
  std::memcpy(&a, p, sizeof a);
  return a;
}

inline void store(float* p, Vec a) { std::memcpy(p, &a, sizeof a); }

// The first n numbers, the rest zero; nothing beyond them is touched.
inline Vec load_part(const float* p, int n) {
#ifdef __AVX512F__
  return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  Vec a{};
  for (int l = 0; l < n; ++l) a[l] = p[l];
  return a;
#endif
}

inline void store_part(float* p, Vec a, int n) {
#ifdef __AVX512F__
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)a);
#else
  for (int l = 0; l < n; ++l) p[l] = a[l];
#endif
}

inline float total(Vec a) {
  float sum = 0;
  for (int l = 0; l < LANES; ++l) sum += a[l];
  return sum;
}

inline Vec choose(Bits mask, Vec a, Vec b) { return mask ? a : b; }
inline Vec truth(Bits mask) { return choose(mask, splat(1), Vec{}); }
inline Vec where(Vec mask, Vec a, Vec b) { return choose(mask != 0, a, b); }
inline Vec absolute(Vec a) { return (Vec)((Bits)a & 0x7fffffff); }

// As torch has them, NaN goes through.
inline Vec maximum(Vec a, Vec b) { return choose((a > b) | (a != a), a, b); }
inline Vec minimum(Vec a, Vec b) { return choose((a < b) | (a != a), a, b); }
inline Vec clamped(Vec a, float low, float high) {
  const Vec raised = choose(a < low, splat(low), a);
  return choose(raised > high, splat(high), raised);
}

// e^a = 2^n · e^r with |r| ≤ ln 2 / 2; the polynomial is that of Moshier's Cephes (expf).
inline Vec exponential(Vec a) {
  Vec x = choose(a > 89.0f, splat(89.0f), choose(a < -104.0f, splat(-104.0f), a));
  constexpr float ROUND = 12582912.0f;  // 1.5 · 2^23: adding it leaves no bits for a fraction
  Vec n = x * 1.44269504088896341f + ROUND;
  n -= ROUND;
  Vec r = x - n * 0.693359375f;
  r -= n * -2.12194440e-4f;
  Vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // In two steps, for 2^n alone would leave the range of a float where e^a does not.
  n = choose(n == n, n, Vec{});
  Bits whole = __builtin_convertvector(n, Bits), half = whole >> 1;
  Vec low = (Vec)((half + 127) << 23), high = (Vec)((whole - half + 127) << 23);
  return p * low * high;
}

inline Vec sigmoid(Vec a) { return 1.0f / (1.0f + exponential(-a)); }

// 1 − 2 / (e^2|a| + 1), and for small a, where that cancels, Cephes' polynomial (tanhf).
inline Vec hyperbolic_tangent(Vec a) {
  Vec x = absolute(a), z = a * a;
  Vec far = 1.0f - 2.0f / (exponential(x + x) + 1.0f);
  far = (Vec)((Bits)far | ((Bits)a & (int32_t)0x80000000));
  Vec near = splat(-5.70498872745e-3f);
  near = near * z + 2.06390887954e-2f;
  near = near * z - 5.37397155531e-2f;
  near = near * z + 1.33314422036e-1f;
  near = near * z - 3.33332819422e-1f;
  near = near * z * a + a;
  return choose(x < 0.625f, near, choose(a == a, far, a));
}

template <class F>
inline Vec each(Vec a, F f) {
  Vec result;
  for (int l = 0; l < LANES; ++l) result[l] = f(a[l]);
  return result;
}

inline Vec logarithm(Vec a) { return each(a, [](float v) { return std::log(v); }); }
inline Vec log_of_one_and(Vec a) { return each(a, [](float v) { return std::log1p(v); }); }
inline Vec exponential_less_one(Vec a) { return each(a, [](float v) { return std::expm1(v); }); }
inline Vec root(Vec a) { return each(a, [](float v) { return std::sqrt(v); }); }
inline Vec sine(Vec a) { return each(a, [](float v) { return std::sin(v); }); }
inline Vec cosine(Vec a) { return each(a, [](float v) { return std::cos(v); }); }
inline Vec error_function(Vec a) { return each(a, [](float v) { return std::erf(v); }); }
inline Vec power(Vec a, float p) {
  return each(a, [p](float v) { return std::pow(v, p); });
}
inline Vec sign(Vec a) { return truth(a > 0) - truth(a < 0); }

}  // namespace
}  // namespace ostinato
