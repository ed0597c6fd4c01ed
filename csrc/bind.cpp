// The core as Python sees it. Arrays come as addresses: who calls keeps them alive, and has checked
// their kind and shape.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <tuple>
#include <vector>

#if defined(_OPENMP) && !defined(_WIN32)
#include <pthread.h>
#endif

#include "core.h"
#include "operations.h"

namespace nb = nanobind;

namespace ostinato {
namespace {

using Address = uintptr_t;

float* floats(Address a) { return reinterpret_cast<float*>(a); }

// Best first.
std::vector<const Core*> cores() {
  std::vector<const Core*> found;
#if defined(__x86_64__) && defined(OSTINATO_HAS_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("fma"))
    found.push_back(&core_avx512);
#endif
#if defined(__x86_64__) && defined(OSTINATO_HAS_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    found.push_back(&core_avx2);
#endif
  found.push_back(&core_baseline);
  return found;
}

std::string said(const Core* core) { return std::string(core->name).substr(5); }

const Core* chosen = nullptr;

const Core& core() {
  if (!chosen) chosen = cores().front();
  return *chosen;
}

void choose(const std::string& name) {
  for (const Core* each : cores())
    if (said(each) == name) {
      chosen = each;
      return;
    }
  throw nb::value_error(("this processor cannot run \"" + name + "\", or it was not built").c_str());
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const Core* each : cores()) names.push_back(said(each));
  return names;
}

std::vector<std::string> operations() {
  return {
#define OSTINATO_NAME(NAME, N, EXPRESSION) #NAME,
      OSTINATO_POINTWISE(OSTINATO_NAME)
#undef OSTINATO_NAME
#define OSTINATO_NAME(NAME, READS, WRITES) #NAME,
          OSTINATO_ROWWISE(OSTINATO_NAME)
#undef OSTINATO_NAME
  };
}

// A forked process has none of its parent's threads, for which OpenMP would wait without end.
bool forked = false;

int threads_of(int wish) { return forked ? 1 : std::max(wish, 1); }

// Tests have what was not written be NaN.
bool poisoned = false;

// Memory that a calling thread keeps from one call to the next.
class Scratch {
 public:
  ~Scratch() { std::free(room_); }
  float* of(int64_t floats) {
    if (floats > size_) {
      std::free(room_);
      size_ = 0;
      room_ = static_cast<float*>(std::aligned_alloc(64, (floats * 4 + 4095) / 4096 * 4096));
      if (!room_) throw std::bad_alloc();
      size_ = floats;
    }
    if (poisoned) std::fill(room_, room_ + size_, NAN);
    return room_;
  }

 private:
  float* room_ = nullptr;
  int64_t size_ = 0;
};

thread_local Scratch scratch;

typedef std::tuple<int32_t, int32_t, int64_t> Place;  // slot, fixed, column
typedef std::tuple<Place, int64_t, int64_t> Part;     // place of A, k, number of the pack
typedef std::tuple<int32_t, std::vector<Place>, std::vector<Place>, std::vector<Part>, int32_t, int64_t,
                   std::vector<float>>
    Line;                                                                      // see Instruction
typedef std::tuple<int64_t, bool, std::vector<Line>, std::vector<Place>> Floor;  // see Stage
typedef std::tuple<int64_t, int64_t, int64_t> Packed;                          // k, n, width of the stage
typedef std::tuple<Address, int64_t, int64_t, int64_t, int64_t> Array;  // base, row, step, shift, ring

Operand operand(const Place& p) { return {std::get<0>(p), std::get<1>(p), std::get<2>(p)}; }

class Session;

// A program's walk, lowered for one instruction set.
class Walker {
 public:
  // `kinds`: of each slot, with the width of those that are scratch.
  Walker(const std::vector<Floor>& stages, const std::vector<Packed>& packs,
         const std::vector<std::tuple<int32_t, int64_t>>& kinds, bool turned)
      : core_(core()), kinds_(kinds), turned_(turned) {
    if (kinds.size() > 192) throw nb::value_error("too many values for one walk");
    for (const auto& [k, n, width] : packs) {
      const int64_t panel = core_.tiles(width).panel;
      packs_.push_back({k, n, size_, panel});
      size_ += (n + panel - 1) / panel * panel * k;
    }
    for (const auto& [width, whole, lines, ahead] : stages) {
      Stage stage{width, (int32_t)instructions_.size(), (int32_t)lines.size(), whole, 0, {}};
      for (const Place& p : ahead)
        if (stage.asked < MOST_AHEAD) stage.ahead[stage.asked++] = operand(p);
      stages_.push_back(stage);
      const Tiles size = core_.tiles(width);
      tile_rows_ = std::max(tile_rows_, size.rows);
      tile_columns_ = std::max(tile_columns_, (whole ? width : size.columns) + 16);
      for (const Line& line : lines) instructions_.push_back(instruction(line));
    }
  }

  int64_t packed_size() const { return size_; }

  // Element (k, n) of the weight of each pack lies at base + (k·sk + n·sn).
  void pack(Address arena, const std::vector<std::tuple<Address, int64_t, int64_t>>& weights,
            int wish) const {
    const int threads = threads_of(wish);
    nb::gil_scoped_release free;
    for (size_t i = 0; i < packs_.size(); ++i) {
      const auto& [base, sk, sn] = weights[i];
      core_.pack(packs_[i], floats(base), sk, sn, floats(arena), threads);
    }
  }

  void run(Address arena, int64_t batch, int64_t steps, const std::vector<int64_t>& active,
           bool backwards, int wish, const std::vector<Array>& arrays, Address cut,
           const std::vector<std::tuple<int32_t, int32_t, int64_t, Address>>& carries,
           const std::vector<Address>& sums) const {
    const int threads = threads_of(wish);
    std::vector<Slot> slots;
    int64_t columns = 0;
    size_t next = 0, summed = 0;
    for (const auto& [kind, width] : kinds_) {
      const int64_t padded = (width + 15) / 16 * 16;
      if (kind == Slot::BLOCK) columns += padded;
    }
    const int64_t most = std::max<int64_t>(1, (batch + threads - 1) / threads);
    int64_t rows = columns ? std::max<int64_t>(tile_rows_, 16384 / columns / 12 * 12) : most;
    if (!active.empty()) rows = std::min<int64_t>(rows, 24);
    rows = std::min(rows, most);
    int64_t at = 0;
    for (const auto& [kind, width] : kinds_) {
      const int64_t padded = (width + 15) / 16 * 16;
      if (kind == Slot::BLOCK) {
        slots.push_back({nullptr, padded, at, 0, 0, Slot::BLOCK});
        at += padded * rows;
      } else if (kind == Slot::TILE) {
        slots.push_back({nullptr, tile_columns_, at, 0, 0, Slot::TILE});
        at += tile_columns_ * tile_rows_;
      } else if (kind == Slot::SUM) {
        slots.push_back({floats(sums.at(summed++)), 0, at, width, 0, Slot::SUM});
        at += padded;
      } else {
        const auto& [base, row, step, shift, ring] = arrays.at(next++);
        const Slot::Kind lies = ring ? Slot::EVEN : Slot::PACKED;
        slots.push_back({floats(base), row, step, shift, ring, lies});
      }
    }
    std::vector<Carry> carried;
    std::vector<float*> fresh;
    for (const auto& [given, handed_on, width, anew] : carries) {
      carried.push_back({given, handed_on, width});
      fresh.push_back(floats(anew));
    }
    std::vector<int64_t> first;
    int64_t so_far = 0;
    for (int64_t each : active) {
      first.push_back(so_far);
      so_far += each;
    }
    const int64_t each = (at + 1023) / 1024 * 1024 + 16;
    float* room = scratch.of(each * threads + 64);
    const Walk walk{batch,
                    steps,
                    active.empty() ? nullptr : active.data(),
                    active.empty() ? nullptr : first.data(),
                    backwards,
                    threads,
                    slots.data(),
                    (int32_t)slots.size(),
                    floats(arena),
                    reinterpret_cast<const uint8_t*>(cut),
                    (int32_t)carried.size(),
                    carried.data(),
                    fresh.data()};
    const Plan plan{stages_.data(), (int32_t)stages_.size(), instructions_.data(),
                    turned_};
    nb::gil_scoped_release free;
    core_.run(plan, walk, room, each, rows);
  }

 private:
  friend class Session;

  Instruction instruction(const Line& line) const {
    const auto& [op, in, out, parts, activation, width, numbers] = line;
    if (in.size() > INPUTS || out.size() > OUTPUTS || parts.size() > SEGMENTS ||
        (op == PRODUCT && in.size() > ADDENDS) || numbers.size() > NUMBERS)
      throw nb::value_error("an instruction with more operands than the machine has");
    Instruction made{};
    made.op = op;
    made.inputs = (int32_t)in.size();
    made.outputs = (int32_t)out.size();
    made.segments = (int32_t)parts.size();
    made.activation = activation;
    made.width = width;
    for (size_t i = 0; i < in.size(); ++i) made.in[i] = operand(in[i]);
    for (size_t i = 0; i < out.size(); ++i) made.out[i] = operand(out[i]);
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto& [a, k, number] = parts[i];
      made.segment[i] = {operand(a), k, packs_.at(number).to};
    }
    for (size_t i = 0; i < numbers.size(); ++i) made.number[i] = numbers[i];
    return made;
  }

  const Core& core_;
  std::vector<std::tuple<int32_t, int64_t>> kinds_;
  std::vector<Stage> stages_;
  std::vector<Instruction> instructions_;
  std::vector<Pack> packs_;
  bool turned_;
  int64_t size_ = 0, tile_rows_ = 1, tile_columns_ = 16;
};

typedef std::tuple<int64_t, Address, int64_t, Address, Address, int64_t> Sum;  // see Outer

void outer(const std::vector<Sum>& wanted, int64_t n, int64_t k, Address b, int64_t rb, Address sums,
           int wish) {
  const int threads = threads_of(wish);
  std::vector<Outer> outers;
  int64_t all = 0;
  for (const auto& [m, a, ra, rows, c, rc] : wanted) {
    outers.push_back({m, floats(a), ra, reinterpret_cast<const int64_t*>(rows), floats(c), rc});
    all += m;
  }
  float* room = scratch.of(core().outer_scratch(all) * threads);
  nb::gil_scoped_release free;
  core().outer(outers.data(), (int)outers.size(), n, k, floats(b), rb, floats(sums), room, threads);
}

// Bit by bit: NaN is what it was, and -0 is not 0.
bool same(Address a, Address b, int64_t bytes) {
  return std::memcmp(reinterpret_cast<void*>(a), reinterpret_cast<void*>(b), bytes) == 0;
}

}  // namespace
}  // namespace ostinato

#include "session.h"

NB_MODULE(_core, m) {
  using namespace ostinato;
  nb::set_leak_warnings(false);  // walks are kept for whoever comes again, to the end of the process
  m.attr("version") = OSTINATO_VERSION;
  m.attr("openmp") =
#ifdef _OPENMP
      true;
#else
      false;
#endif
#if defined(_OPENMP) && !defined(_WIN32)
  pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif
  m.def("isas", isas, "The instruction sets that were built and that this processor has, best first.");
  m.def("isa", [] { return said(&core()); }, "The one in use.");
  m.def("choose", choose, "Uses another one, for what is lowered from now on.");
  m.def("poison", [](bool on) { poisoned = on; }, "Fills scratch with NaN at each call, for tests.");
  m.def("same", same, "Whether two arrays hold the same bytes.");
  m.def("operations", operations, "The names of the machine's operations, by number.");
  m.def("outer", outer, "Each C [m, n] += A' B, and sums [n] += the rows of B, over k rows.");
  m.def(
      "peak_flops",
      [](double seconds) {
        nb::gil_scoped_release free;
        using Clock = std::chrono::steady_clock;
        double best = 0;
        const auto begun = Clock::now();
        do {
          const auto from = Clock::now();
          const double done = core().multiply_adds(200000);
          best = std::max(best, done / std::chrono::duration<double>(Clock::now() - from).count());
        } while (std::chrono::duration<double>(Clock::now() - begun).count() < seconds);
        return best;
      },
      nb::arg("seconds") = 0.3,
      "Multiply-adds of one thread at best: floating-point operations a second.");
  nb::class_<Walker>(m, "Walker")
      .def(nb::init<const std::vector<Floor>&, const std::vector<Packed>&,
                    const std::vector<std::tuple<int32_t, int64_t>>&, bool>())
      .def_prop_ro("packed_size", &Walker::packed_size)
      .def("pack", &Walker::pack)
      .def("run", &Walker::run);
  nb::class_<Session>(m, "Session")
      .def(nb::init<nb::object, const std::vector<Session::Lies>&, bool, Address,
                    const std::vector<int64_t>&, Address, const std::vector<int64_t>&>())
      .def("pack", &Session::pack)
      .def("watch", &Session::watch)
      .def("stale", &Session::stale)
      .def_prop_ro("turn", &Session::turn)
      .def("step", &Session::step, nb::arg(), nb::arg().none())
      .def("run", &Session::run, nb::arg(), nb::arg().none());
}
