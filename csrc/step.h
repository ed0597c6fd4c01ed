// One step of a program for the rows of a few streams, with every address known ahead of time. With so
// few rows a product waits for its weights alone: they are read once, in order, several sums at a time.
#pragma once

#include <vector>

#include "product.h"
#include "rows.h"

namespace ostinato {
namespace {

// Two rows of a panel: as they are packed for a walk,
template <int V>
struct Whole {
  const float* at;
  explicit Whole(const void* packed) : at((const float*)packed) {}
  void last(Vec* low) const {
    for (int v = 0; v < V; ++v) low[v] = load(at + v * LANES);
  }
  void both(Vec* low, Vec* high) const {
    last(low);
    for (int v = 0; v < V; ++v) high[v] = load(at + (V + v) * LANES);
  }
  void next() { at += 2 * V * LANES; }
};

// or as bfloat16, the upper half of a float: two rows in one, the second one above. The first is left
// where it is when the second is read, whose half is chosen so that both together are nearest to it.
template <int V>
struct Halved {
  const uint32_t* at;
  explicit Halved(const void* packed) : at((const uint32_t*)packed) {}
  Bits bits(int v) const {
    Bits two;
    std::memcpy(&two, at + v * LANES, sizeof two);
    return two;
  }
  void last(Vec* low) const {
    for (int v = 0; v < V; ++v) low[v] = (Vec)(bits(v) << 16);
  }
  void both(Vec* low, Vec* high) const {
    for (int v = 0; v < V; ++v) {
      const Bits two = bits(v);
      low[v] = (Vec)(two << 16);
      high[v] = (Vec)two;
    }
  }
  void next() { at += V * LANES; }
};

struct Factor {  // of one sum: rows of A, and panels of B
  const float* a;
  int64_t ra, k, of_panel;  // how far a panel's begin is from the next one's, in bytes
  const char* b;
};

// A sum of one row is cut into enough parts that no addition waits for the one before it.
constexpr int pairs_at_once(int rows, int vectors) {
  return rows > 1 || vectors > 2 ? 1 : vectors == 2 ? 2 : 4;
}

template <int R, int V>
void ended(const Vec (&sum)[R][V], const Ending& end, int64_t width) {
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      const int n = (int)least(LANES, width - v * LANES);
      if (n <= 0) break;
      Vec got = sum[r][v] + end.number;
      for (int i = 0; i < end.adds; ++i) got += some_of(end.add[i] + r * end.ra[i] + v * LANES, n);
      if (end.activation) got = activated(got, end.activation);
      put_some(end.out + r * end.ro + v * LANES, got, n);
    }
}

template <template <int> class Weights, int R, int V>
void streamed(const Factor* factors, int count, int64_t panel, const Ending& end, int64_t width) {
  constexpr int PAIRS = pairs_at_once(R, V), PARTS = R > 1 ? 1 : 2 * PAIRS;
  Vec sum[R][PARTS][V];
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < PARTS; ++p)
      for (int v = 0; v < V; ++v) sum[r][p][v] = Vec{};
  for (int f = 0; f < count; ++f) {
    const Factor& factor = factors[f];
    Weights<V> weights(factor.b + panel * factor.of_panel);
    auto add = [&](int64_t k, int part, const Vec* row) {
      for (int r = 0; r < R; ++r) {
        const float x = factor.a[r * factor.ra + k];
        for (int v = 0; v < V; ++v) sum[r][part][v] += x * row[v];
      }
    };
    auto pair = [&](int64_t k, int part) {
      Vec low[V], high[V];
      weights.both(low, high);
      weights.next();
      add(k, part, low);
      add(k + 1, (part + 1) % PARTS, high);
    };
    int64_t k = 0;
    for (; k + 2 * PAIRS <= factor.k; k += 2 * PAIRS)
      for (int p = 0; p < PAIRS; ++p) pair(k + 2 * p, 2 * p % PARTS);
    for (; k + 2 <= factor.k; k += 2) pair(k, 0);
    if (k < factor.k) {
      Vec low[V];
      weights.last(low);
      add(k, 0, low);
    }
  }
  Vec all[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      all[r][v] = sum[r][0][v];
      for (int p = 1; p < PARTS; ++p) all[r][v] += sum[r][p][v];
    }
  ended<R, V>(all, end, width);
}

#ifdef __AVX512F__
#define OSTINATO_DOTS __attribute__((target("avx512bf16")))

// With the rows of A in bfloat16 too, the processor adds both products of a pair at once.
template <int R, int V>
OSTINATO_DOTS void dotted(const Factor* factors, int count, int64_t panel, const Ending& end,
                          int64_t width) {
  constexpr int PARTS = R > 1 ? 1 : V > 2 ? 2 : 4;
  __m512 sum[R][PARTS][V];
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < PARTS; ++p)
      for (int v = 0; v < V; ++v) sum[r][p][v] = _mm512_setzero_ps();
  for (int f = 0; f < count; ++f) {
    const Factor& factor = factors[f];
    const char* b = factor.b + panel * factor.of_panel;
    const int64_t pairs = up(factor.k, 2);
    int64_t k = 0;
    for (; k + PARTS <= pairs; k += PARTS)
#pragma GCC unroll 4
      for (int p = 0; p < PARTS; ++p, b += V * 64)
        for (int r = 0; r < R; ++r) {
          const __m512i x = _mm512_set1_epi32(((const int32_t*)factor.a)[r * factor.ra + k + p]);
          for (int v = 0; v < V; ++v)
            sum[r][p][v] = _mm512_dpbf16_ps(sum[r][p][v], (__m512bh)x, (__m512bh)_mm512_loadu_si512(b + v * 64));
        }
    for (; k < pairs; ++k, b += V * 64)
      for (int r = 0; r < R; ++r) {
        const __m512i x = _mm512_set1_epi32(((const int32_t*)factor.a)[r * factor.ra + k]);
        for (int v = 0; v < V; ++v)
          sum[r][0][v] = _mm512_dpbf16_ps(sum[r][0][v], (__m512bh)x, (__m512bh)_mm512_loadu_si512(b + v * 64));
      }
  }
  Vec all[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      all[r][v] = (Vec)sum[r][0][v];
      for (int p = 1; p < PARTS; ++p) all[r][v] += (Vec)sum[r][p][v];
    }
  ended<R, V>(all, end, width);
}

// A row of floats in bfloat16, and a zero where its length is odd.
OSTINATO_DOTS void rounded(const float* a, int64_t k, uint32_t* to) {
  for (int64_t j = 0; j < k; j += 16, to += 8) {
    const __m512 some = (__m512)load_part(a + j, (int)least(16, k - j));
    _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(some));
  }
}
#endif

typedef void (*Streamed)(const Factor*, int, int64_t, const Ending&, int64_t);

struct WholeWeights {
  template <int R, int V>
  static constexpr Streamed of = streamed<Whole, R, V>;
};

struct HalvedWeights {
  template <int R, int V>
  static constexpr Streamed of = streamed<Halved, R, V>;
};

#ifdef __AVX512F__
struct DottedWeights {
  template <int R, int V>
  static constexpr Streamed of = dotted<R, V>;
};
#endif

template <class Weights, int R>
Streamed of_panel(int64_t panel) {
  switch (panel / LANES) {
    case 1: return Weights::template of<R, 1>;
    case 2: return Weights::template of<R, 2>;
#if LANES == 16
    case 3: return Weights::template of<R, 3>;
    case 4: return Weights::template of<R, 4>;
#endif
  }
  return nullptr;
}

constexpr int FEW = 3;  // rows at a time, of weights in bfloat16

template <class Weights>
Streamed of_rows(int64_t rows, int64_t panel) {
  switch (rows) {
    case 1: return of_panel<Weights, 1>(panel);
    case 2: return of_panel<Weights, 2>(panel);
    default: return of_panel<Weights, FEW>(panel);
  }
}

// The upper half that with this lower one makes the float nearest to `a`.
inline uint32_t upper_half(float a, uint32_t lower) {
  uint32_t bits;
  std::memcpy(&bits, &a, 4);
  const uint32_t sign = bits >> 31 << 15, size = bits & 0x7fffffff;
  constexpr uint32_t SMALLEST = 0x0080, INFINITE = 0x7f80, NONE = 0x7fc0;
  if (size >= INFINITE << 16) return sign | (a != a ? NONE : INFINITE);
  uint32_t half = size + 0x8000 < lower ? 0 : (size + 0x8000 - lower) >> 16;
  if (half < SMALLEST) half = lower ? SMALLEST : 0;  // processors are slow with smaller numbers
  return sign | (half < INFINITE ? half : INFINITE - 1);
}

class Steps final : public Stepper {
 public:
  Steps(const Plan& plan, const Fixed* slots, int64_t rows, const std::vector<Pack>& packs, bool halved)
      : rows_(rows), halved_(halved), dots_(halved && can_dot()) {
    for (const Pack& pack : packs) {
      const int64_t panels = up(pack.n, pack.width);
      blocks_.push_back({pack.to, pack.k, pack.width, panels, halves_});
      halves_ += halved ? up(pack.k, 2) * pack.width * panels : 0;
    }
    for (int turn = 0; turn < 2; ++turn)
      for (int32_t i = 0; i < plan.stage_count; ++i)
        for (int32_t j = 0; j < plan.stages[i].count; ++j)
          lines_[turn].push_back(
              line(plan.stages[i], plan.instructions[plan.stages[i].first + j], slots, turn));
    int64_t most = 0;
    for (const Line& line : lines_[0]) {
      int64_t numbers = 0;
      for (int32_t i = 0; i < line.factors; ++i) numbers += up(line.factor[i].k, 16) * 8;
      most = numbers > most ? numbers : most;
    }
    if (dots_) rounded_.resize(most * rows);
  }

  void weights(const float* packed) override {
    const char* begin = (const char*)packed;
    if (halved_) {
      pairs_.resize(halves_);
      for (const Block& block : blocks_) halve(block, packed + block.from);
      begin = (const char*)pairs_.data();
    }
    for (auto& lines : lines_)
      for (Line& line : lines)
        for (int32_t i = 0; i < line.factors; ++i) line.factor[i].b = begin + line.offset[i];
  }

  void step(int turn) const override {
    for (const Line& line : lines_[turn]) {
      if (line.handler)
        line.handler(line.call);
      else
        multiply(line);
    }
  }

 private:
  static bool can_dot() {
#ifdef __AVX512F__
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
  }

  struct Block {  // a pack, and where its halves begin
    int64_t from, k, width, panels, to;
  };

  struct Line {  // an instruction with all its addresses
    Handler handler;  // null for a product
    Call call;
    Ending end;
    int32_t factors;
    Factor factor[SEGMENTS];
    int64_t offset[SEGMENTS], panel, width;
  };

  Line line(const Stage& stage, const Instruction& in, const Fixed* slots, int turn) const {
    Line made{};
    auto at = [&](const Operand& o) { return slots[o.slot].at[turn] + o.column; };
    if (in.op != PRODUCT) {
      made.handler = HANDLERS[in.op];
      for (int32_t i = 0; i < in.inputs; ++i) {
        made.call.in[i] = at(in.in[i]);
        made.call.ri[i] = slots[in.in[i].slot].row;
      }
      for (int32_t i = 0; i < in.outputs; ++i) {
        made.call.out[i] = at(in.out[i]);
        made.call.ro[i] = slots[in.out[i].slot].row;
      }
      made.call.rows = rows_;
      made.call.width = in.width ? in.width : stage.width;
      made.call.number = in.number;
      return made;
    }
    made.panel = tiles(stage.width).panel;
    made.width = stage.width;
    made.end = {at(in.out[0]), slots[in.out[0].slot].row, {}, {}, in.inputs, in.activation, in.number[0]};
    for (int32_t i = 0; i < in.inputs; ++i) {
      made.end.add[i] = at(in.in[i]);
      made.end.ra[i] = slots[in.in[i].slot].row;
    }
    made.factors = in.segments;
    for (int32_t i = 0; i < in.segments; ++i) {
      const Segment& part = in.segment[i];
      const int64_t rows = halved_ ? up(part.k, 2) : part.k;
      made.factor[i] = {at(part.a), slots[part.a.slot].row, part.k, rows * made.panel * 4, nullptr};
      made.offset[i] = 4 * (halved_ ? halves_of(part.packed) : part.packed);
    }
    return made;
  }

  int64_t halves_of(int64_t packed) const {
    for (const Block& block : blocks_)
      if (block.from == packed) return block.to;
    return 0;
  }

  void halve(const Block& block, const float* from) {
    uint32_t* to = pairs_.data() + block.to;
    for (int64_t p = 0; p < block.panels; ++p)
      for (int64_t k = 0; k < block.k; k += 2)
        for (int64_t j = 0; j < block.width; ++j) {
          const float* low = from + (p * block.k + k) * block.width + j;
          const uint32_t first = upper_half(*low, 0), lower = dots_ ? 0 : first;
          *to++ = first | (k + 1 < block.k ? upper_half(low[block.width], lower) << 16 : 0);
        }
  }

  void multiply(const Line& line) const {
    const int64_t most = halved_ ? FEW : tiles(line.width).rows, parts = up(rows_, most);
    const Factor* factors = line.factor;
#ifdef __AVX512F__
    Factor dots[SEGMENTS];
    if (dots_) {
      uint32_t* free = rounded_.data();
      for (int32_t i = 0; i < line.factors; ++i) {
        const Factor& from = line.factor[i];
        dots[i] = {(const float*)free, up(from.k, 16) * 8, from.k, from.of_panel, from.b};
        for (int64_t r = 0; r < rows_; ++r, free += dots[i].ra)
          rounded(from.a + r * from.ra, from.k, free);
      }
      factors = dots;
    }
#endif
    for (int64_t p = 0; p * line.panel < line.width; ++p)
      for (int64_t part = 0; part < parts; ++part)
        panel(line, factors, p, rows_ * part / parts, rows_ * (part + 1) / parts);
  }

  void panel(const Line& line, const Factor* given, int64_t p, int64_t first, int64_t last) const {
    Ending end = line.end;
    const int64_t c = p * line.panel, width = least(line.panel, line.width - c);
    for (int i = 0; i < end.adds; ++i) end.add[i] += first * end.ra[i] + c;
    end.out += first * end.ro + c;
    if (Streamed run = streamed_of(last - first, line.panel)) {
      Factor factors[SEGMENTS];
      for (int32_t i = 0; i < line.factors; ++i) {
        factors[i] = given[i];
        factors[i].a += first * factors[i].ra;
      }
      run(factors, line.factors, p, end, width);
      return;
    }
    Terms terms[SEGMENTS];
    for (int32_t i = 0; i < line.factors; ++i)
      terms[i] = {given[i].a + first * given[i].ra, given[i].ra, given[i].k,
                  (const float*)(given[i].b + p * given[i].of_panel)};
    Ahead none;
    kernel(last - first, line.panel)(terms, line.factors, end, width, none);
  }

  // None where the walk's own products are as good.
  Streamed streamed_of(int64_t rows, int64_t panel) const {
#ifdef __AVX512F__
    if (dots_) return of_rows<DottedWeights>(rows, panel);
#endif
    if (halved_) return of_rows<HalvedWeights>(rows, panel);
    return rows == 1 ? of_panel<WholeWeights, 1>(panel) : nullptr;
  }

  const int64_t rows_;
  const bool halved_, dots_;
  int64_t halves_ = 0;
  std::vector<Block> blocks_;
  std::vector<Line> lines_[2];
  std::vector<uint32_t> pairs_;
  mutable std::vector<uint32_t> rounded_;
};

Stepper* stepper(const Plan& plan, const Fixed* slots, int64_t rows, const Pack* packs, int64_t count,
                 bool halved) {
  return new Steps(plan, slots, rows, {packs, packs + count}, halved);
}

}  // namespace
}  // namespace ostinato
