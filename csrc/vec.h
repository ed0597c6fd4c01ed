// A vector of floats, and the functions that torch has of one number, LANES at a time. GCC's and
// Clang's vector extensions: one source for every instruction set.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

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

#ifdef __AVX512F__
constexpr __mmask16 ALL = 0xffff;  // with a mask, GCC 12 does not warn of its own headers
#endif

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

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define OSTINATO_SHUFFLES
#endif
#endif

// LANES vectors turned: number l of vector i becomes number i of vector l.
#ifdef OSTINATO_SHUFFLES
constexpr bool TURNS = true;

template <int S, int... L>
inline void turn_by(Vec* a, std::integer_sequence<int, L...>) {
  for (int i = 0; i < LANES; ++i)
    if (!(i & S)) {
      const Vec low = a[i], high = a[i + S];
      a[i] = __builtin_shufflevector(low, high, (L & S ? LANES + L - S : L)...);
      a[i + S] = __builtin_shufflevector(low, high, (L & S ? LANES + L : L + S)...);
    }
}

template <int S = 1>
inline void turn(Vec* a) {
  turn_by<S>(a, std::make_integer_sequence<int, LANES>{});
  if constexpr (2 * S < LANES) turn<2 * S>(a);
}
#else
constexpr bool TURNS = false;
inline void turn(Vec*) {}
#endif

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
#ifdef __AVX512F__
  const __m512 raised = _mm512_maskz_max_ps(ALL, (__m512)splat(low), (__m512)a);
  return (Vec)_mm512_maskz_min_ps(ALL, (__m512)splat(high), raised);
#else
  const Vec raised = choose(a < low, splat(low), a);
  return choose(raised > high, splat(high), raised);
#endif
}

// a · 2^n, for whole n, also where 2^n alone would leave the range of a float.
inline Vec scaled(Vec a, Vec n) {
#ifdef __AVX512F__
  return (Vec)_mm512_maskz_scalef_ps(ALL, (__m512)a, (__m512)n);
#else
  n = choose(n == n, n, Vec{});
  Bits whole = __builtin_convertvector(n, Bits), half = whole >> 1;
  return a * (Vec)((half + 127) << 23) * (Vec)((whole - half + 127) << 23);
#endif
}

// 1 / a for a ≥ 1: the processor's estimate and one step of Newton's, where that is the faster.
inline Vec reciprocal(Vec a) {
#ifdef __AVX512F__
  const __m512 x = (__m512)a, y = _mm512_maskz_rcp14_ps(ALL, x), one = _mm512_set1_ps(1);
  const __mmask16 finite = _mm512_cmp_ps_mask(x, _mm512_set1_ps(INFINITY), _CMP_NEQ_UQ);
  return (Vec)_mm512_maskz_fmadd_ps(finite, y, _mm512_fnmadd_ps(x, y, one), y);
#else
  return 1.0f / a;
#endif
}

// a / b for b ≥ 1, both finite.
inline Vec ratio(Vec a, Vec b) {
#ifdef __AVX512F__
  const __m512 x = (__m512)a, y = (__m512)b, inverse = (__m512)reciprocal(b);
  const __m512 near = _mm512_mul_ps(x, inverse);
  return (Vec)_mm512_fmadd_ps(_mm512_fnmadd_ps(near, y, x), inverse, near);
#else
  return a / b;
#endif
}

// e^a = 2^n · (1 + rest) with e^r, |r| ≤ ln 2 / 2, by the polynomial of Moshier's Cephes (expf).
struct Exponential {
  Vec n, rest;
};

inline Exponential parts_of_exponential(Vec a) {
  constexpr float ROUND = 12582912.0f;  // 1.5 · 2^23: adding it leaves no bits for a fraction
  Vec n = a * 1.44269504088896341f + ROUND;
  n -= ROUND;
  Vec r = a - n * 0.693359375f;
  r -= n * -2.12194440e-4f;
  Vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return {n, p * (r * r) + r};
}

inline Vec exponential(Vec a) {
  const Exponential e = parts_of_exponential(clamped(a, -104.0f, 89.0f));
  return scaled(e.rest + 1.0f, e.n);
}

inline Vec sigmoid(Vec a) { return reciprocal(1.0f + exponential(-a)); }

// (e^2a − 1) / (e^2a + 1), the numerator without cancellation; beyond 20 it is ±1 for certain.
inline Vec hyperbolic_tangent(Vec a) {
  const Vec x = clamped(a, -20.0f, 20.0f);
  const Exponential e = parts_of_exponential(x + x);
  const Vec less_one = scaled(e.rest, e.n) + (scaled(splat(1), e.n) - 1.0f);
  return ratio(less_one, less_one + 2.0f);
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
