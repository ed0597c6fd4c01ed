// What the machine computes number by number: a line each. `a` to `e` are vectors read, `p` to `s` are
// numbers of the program. The names are those of the program's operations, or of several in one.
#pragma once

#define OSTINATO_POINTWISE(OP)                                                              \
  OP(copy, 1, a)                                                                            \
  OP(add, 2, a + b)                                                                         \
  OP(sub, 2, a - b)                                                                         \
  OP(mul, 2, a * b)                                                                         \
  OP(div, 2, a / b)                                                                         \
  OP(maximum, 2, maximum(a, b))                                                             \
  OP(minimum, 2, minimum(a, b))                                                             \
  OP(where, 3, where(a, b, c))                                                              \
  OP(gt, 2, truth(a > b))                                                                   \
  OP(ge, 2, truth(a >= b))                                                                  \
  OP(lt, 2, truth(a < b))                                                                   \
  OP(le, 2, truth(a <= b))                                                                  \
  OP(eq, 2, truth(a == b))                                                                  \
  OP(ne, 2, truth(a != b))                                                                  \
  OP(neg, 1, -a)                                                                            \
  OP(abs, 1, absolute(a))                                                                   \
  OP(sign, 1, sign(a))                                                                      \
  OP(sigmoid, 1, sigmoid(a))                                                                \
  OP(tanh, 1, hyperbolic_tangent(a))                                                        \
  OP(relu, 1, choose(a < 0, Vec{}, a))                                                      \
  OP(exp, 1, exponential(a))                                                                \
  OP(log, 1, logarithm(a))                                                                  \
  OP(log1p, 1, log_of_one_and(a))                                                           \
  OP(expm1, 1, exponential_less_one(a))                                                     \
  OP(sqrt, 1, root(a))                                                                      \
  OP(rsqrt, 1, 1.0f / root(a))                                                              \
  OP(reciprocal, 1, 1.0f / a)                                                               \
  OP(sin, 1, sine(a))                                                                       \
  OP(cos, 1, cosine(a))                                                                     \
  OP(erf, 1, error_function(a))                                                             \
  OP(power, 1, power(a, p))                                                                 \
  OP(clamp, 1, clamped(a, p, q))                                                            \
  OP(hardtanh, 1, clamped(a, p, q))                                                         \
  OP(hardsigmoid, 1, clamped(a + 3.0f, 0, 6) / 6.0f)                                        \
  OP(softplus, 1, choose(a * p > q, a, log_of_one_and(exponential(a * p)) / p))             \
  OP(elu, 1, choose(a > 0, a * q, p * q * exponential_less_one(a * r)))                     \
  OP(leaky_relu, 1, choose(a > 0, a, a * p))                                                \
  OP(silu, 1, a * sigmoid(a))                                                               \
  OP(gelu, 1, 0.5f * a * (1.0f + error_function(a * 0.70710678118654752f)))                 \
  OP(gelu_tanh, 1, 0.5f * a * (1.0f + hyperbolic_tangent(gelu_inner(a))))                   \
  /* slopes: the gradient that comes back, then what it meets */                            \
  OP(dsigmoid, 2, a * b * (1.0f - b))                                                       \
  OP(dtanh, 2, a * (1.0f - b * b))                                                          \
  OP(drelu, 2, choose(b <= 0, Vec{}, a))                                                    \
  OP(dclamp, 2, choose((b >= p) & (b <= q), a, Vec{}))                                      \
  OP(dclamp_open, 2, choose((b > p) & (b < q), a, Vec{}))                                   \
  OP(dhardtanh, 2, choose((b > p) & (b < q), a, Vec{}))                                     \
  OP(dhardsigmoid, 2, choose((b > -3.0f) & (b < 3.0f), a / 6.0f, Vec{}))                    \
  OP(dsoftplus, 2, choose(b * p > q, a, a * sigmoid(b * p)))                                \
  OP(delu, 2, choose(b > 0, a * q, a * (p * q * r) * exponential(b * r)))                   \
  OP(dleaky_relu, 2, choose(b > 0, a, a * p))                                               \
  OP(dsilu, 2, a * dsilu(b))                                                                \
  OP(dgelu, 2, a * dgelu(b))                                                                \
  OP(dgelu_tanh, 2, a * dgelu_tanh(b))                                                      \
  /* several in one: they spare a pass over the tile */                                     \
  OP(add3, 3, a + b + c)                                                                    \
  OP(mul_add, 3, a * b + c)                                                                 \
  OP(mul_mul_add, 4, a * b + c * d)                                                         \
  OP(mul_tanh, 2, a * hyperbolic_tangent(b))                                                \
  OP(mix, 3, (1.0f - c) * a + c * b)                                                        \
  OP(less_mul, 2, (1.0f - a) * b)                                                           \
  OP(sigmoid_mul_add, 3, sigmoid(a * b + c))                                                \
  OP(tanh_mul_add, 3, hyperbolic_tangent(a * b + c))                                        \
  OP(mul_dsigmoid, 3, a * b * (c * (1.0f - c)))                                             \
  OP(mul_dtanh, 3, a * b * (1.0f - c * c))                                                  \
  OP(mul_dtanh_add, 4, a * b * (1.0f - c * c) + d)                                          \
  OP(sub_mul_dsigmoid, 4, a * (b - c) * (d * (1.0f - d)))                                   \
  OP(less_mul_dtanh, 3, a * (1.0f - b) * (1.0f - c * c))

// What looks at rows, not at numbers: reads, writes. All but `spread` need a whole row at once.
#define OSTINATO_ROWWISE(OP)   \
  OP(accumulate, 1, 1)         \
  OP(accumulate_product, 2, 1) \
  OP(spread, 1, 1)             \
  OP(sum, 1, 1)                \
  OP(stretch, 1, 1)            \
  OP(standardise, 1, 3)        \
  OP(dstandardise, 4, 1)       \
  OP(softmax, 1, 1)            \
  OP(dsoftmax, 2, 1)           \
  OP(pad, 1, 1)                \
  OP(conv, 2, 1)
