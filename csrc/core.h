// The native core: what it is given, and what it does. Nothing of Python or of torch is known here.
#pragma once

#include <cstdint>

namespace ostinato {

// Where an array or a piece of scratch lies. A row of step s is found at
// base + ((s + shift) & ring)·step + r·row, or, where the rows of all steps lie packed,
// at base + (first[s] + r)·row, or, with a shift, in the step before: `step` rows lie in front of step 0's.
struct Slot {
  enum Kind : int32_t {
    EVEN,    // an array, so many numbers from step to step
    PACKED,  // an array, the active rows of one step after those of another
    BLOCK,   // scratch of a block of rows
    TILE,    // scratch of a tile
    SUM,     // one row that a thread adds all its rows to; `base` gets those of all threads, `shift` wide
  };
  float* base;
  int64_t row, step, shift, ring;
  Kind kind;
};

struct Operand {
  int32_t slot;
  int32_t fixed;  // the same column whatever the tile's
  int64_t column;
};

struct Segment {  // a part of a sum of products: rows of A, and a packed weight
  Operand a;
  int64_t k;
  int64_t packed;  // where its panels begin
};

constexpr int INPUTS = 5, OUTPUTS = 3, NUMBERS = 12, SEGMENTS = 8, ADDENDS = 3, MOST_AHEAD = 24;

struct Instruction {
  int32_t op;  // of operations.h, or PRODUCT
  int32_t inputs, outputs, segments;
  int32_t activation;  // of a product: see product.h
  int64_t width;       // of a row-wise operation
  Operand in[INPUTS], out[OUTPUTS];
  Segment segment[SEGMENTS];
  float number[NUMBERS];
};

// Instructions done tile by tile; the next stage begins when all columns of a block of rows are done.
struct Stage {
  int64_t width;
  int32_t first, count;
  bool whole;  // one tile takes the whole row
  int32_t asked;  // how many arrays of `ahead` its products ask for while they sum
  Operand ahead[MOST_AHEAD];
};

// A weight as products read it: element (k, n) of B lies at base[k·sk + n·sn].
struct Pack {
  int64_t k, n, to, width;  // `width`: of a panel
};

struct Carry {  // a state that is copied from the slot that a step writes to that which the next reads
  int32_t given, handed_on;
  int64_t width;
};

struct Walk {
  int64_t batch, steps;
  const int64_t* active;  // how many rows each step walks; null for all
  const int64_t* first;   // where the packed rows of each step begin
  bool backwards;
  int threads;
  const Slot* slots;
  int32_t slot_count;
  const float* packed;
  // Rows that are given a fresh state (forwards), or hand no gradient on (backwards), by packed row.
  const uint8_t* cut;
  int32_t carries;
  const Carry* carry;
  float* const* fresh;  // of each carry; null where there is none
};

// Where `turned`, the last stage only makes what the first stage of the next step reads column by column:
// it is put off until then, so that each tile is still in the first cache.
struct Plan {
  const Stage* stages;
  int32_t stage_count;
  const Instruction* instructions;
  bool turned;
};

// A gradient of a weight, C [M, N] += A' B: of A [K, M] and C, where they lie.
struct Outer {
  int64_t m;
  const float* a;
  int64_t ra;
  const int64_t* rows;  // which rows of A they are; null for all, one after another
  float* c;
  int64_t rc;
};

// How a row of so many columns is cut up: panels of a packed weight, tiles of one or more panels.
struct Tiles {
  int64_t panel, columns, rows;
};

// Where an operand's rows begin, in even steps and in odd ones.
struct Fixed {
  float* at[2];
  int64_t row;
};

// One step of a program, over and over.
struct Stepper {
  virtual ~Stepper() = default;
  virtual void weights(const float* packed) = 0;  // which have to stay, unless they are halved
  virtual void step(int turn) const = 0;          // an even one, or an odd one
};

// What one instruction set has.
struct Core {
  const char* name;
  int lanes;
  Tiles (*tiles)(int64_t width);
  void (*pack)(const Pack&, const float* base, int64_t sk, int64_t sn, float* arena, int threads);
  void (*run)(const Plan&, const Walk&, float* scratch, int64_t scratch_each,
              int64_t block_rows);
  void (*outer)(const Outer* outers, int count, int64_t n, int64_t k, const float* b, int64_t rb,
                float* sums, float* scratch, int threads);
  int64_t (*outer_scratch)(int64_t m);
  double (*multiply_adds)(int64_t rounds);  // nothing else; how many operations that were
  Stepper* (*stepper)(const Plan&, const Fixed* slots, int64_t rows, const Pack* packs, int64_t count,
                      bool halved);
};

enum : int32_t { PRODUCT = -1 };

extern const Core core_avx512, core_avx2, core_baseline;

}  // namespace ostinato
