// The machine that walks a program, compiled once for each instruction set.
#include "core.h"

#include <initializer_list>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "outer.h"
#include "product.h"
#include "rows.h"
#include "step.h"

#ifndef OSTINATO_CORE
#define OSTINATO_CORE core_baseline
#endif

namespace ostinato {
namespace {

constexpr int MOST_SLOTS = 192;

// One thread, which walks all steps of its blocks of rows.
struct Worker {
  const Plan& plan;
  const Walk& walk;
  float* scratch;
  int64_t block;
  int thread, threads;
  float *at[MOST_SLOTS], *was[MOST_SLOTS];  // where the rows of this step begin, and of the one before

  void go() {
    for (int32_t i = 0; i < walk.slot_count; ++i)
      if (walk.slots[i].kind == Slot::SUM)
        std::memset(scratch + walk.slots[i].step, 0, walk.slots[i].shift * 4);
    const bool turned = plan.turned && !walk.carries;
    for (int64_t i = 0; i < walk.steps; ++i) {
      const int64_t s = walk.backwards ? walk.steps - 1 - i : i;
      std::memcpy(was, at, sizeof(float*) * walk.slot_count);
      find(s, at);
      const int64_t rows = walk.active ? walk.active[s] : walk.batch;
      const uint8_t* cut = walk.cut;
      if (cut) cut += walk.first ? walk.first[s] : s * walk.batch;
      for (int64_t r = thread * block; r < rows; r += threads * block)
        one_block(r, least(r + block, rows), cut, turned ? plan.stage_count - 1 : plan.stage_count,
                  turned && i > 0);
    }
    if (turned)
      for (int64_t r = thread * block; r < walk.batch; r += threads * block)
        one_stage(plan.stages[plan.stage_count - 1], nullptr, r, least(r + block, walk.batch));
  }

  void find(int64_t s, float** to) const {
    for (int i = 0; i < walk.slot_count; ++i) {
      const Slot& slot = walk.slots[i];
      switch (slot.kind) {
        case Slot::EVEN: to[i] = slot.base + ((s + slot.shift) & slot.ring) * slot.step; break;
        case Slot::PACKED: {
          const int64_t before = s ? slot.step + walk.first[s - 1] : 0;
          to[i] = slot.base + (slot.shift ? before : walk.first[s]) * slot.row;
          break;
        }
        default: to[i] = scratch + slot.step;
      }
    }
  }

  void one_block(int64_t r0, int64_t r1, const uint8_t* cut, int32_t stages, bool put_off) {
    if (cut && !walk.backwards) begin_anew(r0, r1, cut);
    for (int32_t i = 0; i < stages; ++i)
      one_stage(plan.stages[i], !i && put_off ? plan.stages + plan.stage_count - 1 : nullptr, r0, r1);
    for (int32_t i = 0; i < walk.carries; ++i) hand_on(walk.carry[i], r0, r1);
    if (cut && walk.backwards) cut_off(r0, r1, cut);
  }

  // `before`: a stage of the step before that was put off until now.
  void one_stage(const Stage& stage, const Stage* before, int64_t r0, int64_t r1) {
    const Tiles size = tiles(stage.width);
    const int64_t columns = stage.whole ? stage.width : size.columns;
    const int64_t parts = up(r1 - r0, size.rows);
    for (int64_t j = 0; j < stage.width; j += columns)
      for (int64_t p = 0; p < parts; ++p) {
        const int64_t first = r0 + (r1 - r0) * p / parts, rows = r0 + (r1 - r0) * (p + 1) / parts - first;
        const Place place{{first, first, first - r0, 0, 0}, j};
        const int64_t width = least(columns, stage.width - j);
        Ahead ahead;
        ask(stage, before, size, place, rows, width, ahead);
        if (before) tile(*before, was, size, place, rows, width, ahead);
        tile(stage, at, size, place, rows, width, ahead);
      }
  }

  struct Place {
    int64_t row[5], column;
  };

  float* point(float* const* from, const Operand& o, const Place& place) const {
    const Slot& slot = walk.slots[o.slot];
    return from[o.slot] + place.row[slot.kind] * slot.row + o.column + (o.fixed ? 0 : place.column);
  }

  // Which lines the tile will read and write, and how many to ask for at a time.
  void ask(const Stage& stage, const Stage* before, const Tiles& size, const Place& place, int64_t rows,
           int64_t width, Ahead& ahead) const {
    int64_t times = 0;
    for (const Stage* each : {before, &stage})
      for (int32_t i = 0; each && i < each->count; ++i) {
        const Instruction& in = plan.instructions[each->first + i];
        if (in.op == PRODUCT)
          for (int32_t k = 0; k < in.segments; ++k) times += in.segment[k].k / 8;
      }
    times *= up(width, size.panel);
    if (!times) return;
    for (int32_t i = 0; i < stage.asked; ++i) {
      const float* p = point(at, stage.ahead[i], place);
      const int64_t row = walk.slots[stage.ahead[i].slot].row;
      for (int64_t r = 0; r < rows && ahead.count + 8 < Ahead::MOST; ++r)
        for (int64_t c = 0; c < width; c += 16) ahead.line[ahead.count++] = (const char*)(p + r * row + c);
    }
    ahead.each = (int)up(ahead.count, times);
  }

  void tile(const Stage& stage, float* const* from, const Tiles& size, const Place& place, int64_t rows,
            int64_t width, Ahead& ahead) const {
    const Instruction* instruction = plan.instructions + stage.first;
    for (int32_t i = 0; i < stage.count; ++i, ++instruction) {
      if (instruction->op == PRODUCT)
        multiply(*instruction, from, size, place, rows, width, ahead);
      else
        apply(*instruction, from, place, rows, width);
    }
  }

  void apply(const Instruction& in, float* const* from, const Place& place, int64_t rows,
             int64_t width) const {
    Call call;
    for (int32_t i = 0; i < in.inputs; ++i) {
      call.in[i] = point(from, in.in[i], place);
      call.ri[i] = walk.slots[in.in[i].slot].row;
    }
    for (int32_t i = 0; i < in.outputs; ++i) {
      call.out[i] = point(from, in.out[i], place);
      call.ro[i] = walk.slots[in.out[i].slot].row;
    }
    call.rows = rows;
    call.width = in.width ? in.width : width;
    call.number = in.number;
    HANDLERS[in.op](call);
  }

  void multiply(const Instruction& in, float* const* from, const Tiles& size, const Place& place,
                int64_t rows, int64_t width, Ahead& ahead) const {
    Ending end;
    end.adds = in.inputs;
    end.activation = in.activation;
    end.number = in.number[0];
    const float* add[ADDENDS];
    for (int32_t i = 0; i < in.inputs; ++i) {
      add[i] = point(from, in.in[i], place);
      end.ra[i] = walk.slots[in.in[i].slot].row;
    }
    float* out = point(from, in.out[0], place);
    end.ro = walk.slots[in.out[0].slot].row;
    Terms terms[SEGMENTS];
    for (int32_t i = 0; i < in.segments; ++i) {
      const Segment& part = in.segment[i];
      Place whole = place;
      whole.column = 0;
      terms[i] = {point(from, part.a, whole), walk.slots[part.a.slot].row, part.k,
                  walk.packed + part.packed + place.column * part.k};
    }
    const int64_t panels = up(width, size.panel);
    const Sums run = kernel(rows, size.panel);
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t c = p * size.panel;
      for (int32_t i = 0; i < in.inputs; ++i) end.add[i] = add[i] + c;
      end.out = out + c;
      run(terms, in.segments, end, least(size.panel, width - c), ahead);
      for (int32_t i = 0; i < in.segments; ++i) terms[i].b += terms[i].k * size.panel;
    }
  }

  float* row_of(int32_t slot, int64_t r) const { return at[slot] + r * walk.slots[slot].row; }

  void hand_on(const Carry& carry, int64_t r0, int64_t r1) const {
    for (int64_t r = r0; r < r1; ++r)
      std::memcpy(row_of(carry.given, r), row_of(carry.handed_on, r), carry.width * 4);
  }

  void begin_anew(int64_t r0, int64_t r1, const uint8_t* cut) const {
    for (int64_t r = r0; r < r1; ++r)
      if (cut[r])
        for (int32_t i = 0; i < walk.carries; ++i) {
          const Carry& carry = walk.carry[i];
          std::memcpy(row_of(carry.given, r), walk.fresh[i] + r * carry.width, carry.width * 4);
        }
  }

  void cut_off(int64_t r0, int64_t r1, const uint8_t* cut) const {
    for (int64_t r = r0; r < r1; ++r)
      if (cut[r])
        for (int32_t i = 0; i < walk.carries; ++i) {
          const Carry& carry = walk.carry[i];
          float *gradient = row_of(carry.given, r), *remembered = row_of(carry.handed_on, r);
          float* fresh = walk.fresh[i] ? walk.fresh[i] + r * carry.width : nullptr;
          for (int64_t j = 0; j < carry.width; ++j) {
            if (fresh) fresh[j] += gradient[j];
            gradient[j] = remembered[j] = 0;
          }
        }
  }
};

void run(const Plan& plan, const Walk& walk, float* scratch, int64_t scratch_each, int64_t block) {
  int ran = 1;
#ifdef _OPENMP
#pragma omp parallel num_threads(walk.threads) if (walk.threads > 1)
  {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    if (!thread) ran = threads;
    Worker worker{plan, walk, scratch + thread * scratch_each, block, thread, threads, {}, {}};
    worker.go();
  }
#else
  Worker worker{plan, walk, scratch, block, 0, 1, {}, {}};
  worker.go();
#endif
  for (int32_t i = 0; i < walk.slot_count; ++i) {
    const Slot& slot = walk.slots[i];
    for (int t = 0; slot.kind == Slot::SUM && t < ran; ++t)
      for (int64_t j = 0; j < slot.shift; ++j) slot.base[j] += scratch[t * scratch_each + slot.step + j];
  }
}

// What the processor can do at best: sums that wait for no memory.
double multiply_adds(int64_t rounds) {
  constexpr int SUMS = LANES == 16 ? 24 : 12;
  Vec sum[SUMS], a = splat(0.999f), b = splat(1e-3f);
  for (Vec& each : sum) each = Vec{};
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 32
    for (int k = 0; k < SUMS; ++k) sum[k] = sum[k] * a + b;
  }
  Vec all{};
  for (Vec& each : sum) all += each;
  volatile float kept = total(all);
  (void)kept;
  return 2.0 * SUMS * LANES * (double)rounds;
}

}  // namespace

extern const Core OSTINATO_CORE;
#define OSTINATO_TEXT(NAME) #NAME
#define OSTINATO_NAME(NAME) OSTINATO_TEXT(NAME)
const Core OSTINATO_CORE = {OSTINATO_NAME(OSTINATO_CORE), LANES, tiles, pack, run, outer, outer_scratch,
                            multiply_adds, stepper};

}  // namespace ostinato
