// A program that is stepped from Python, one call a step. What it reads and writes is copied from and to
// the caller's arrays; all else has its place for good.
#pragma once

#include <atomic>

#include "exchange.h"

namespace ostinato {
namespace {

constexpr int64_t LARGE = 1 << 20;  // multiplications in a step that is worth letting other threads run

class Session {
 public:
  typedef std::tuple<Address, Address, int64_t> Lies;  // in even steps, in odd ones, from row to row

  // `arrays`: of each slot that is no scratch. `x`, `y`: where one step reads and writes, and shapes.
  Session(nb::object walker, const std::vector<Lies>& arrays, bool halved, Address x,
          const std::vector<int64_t>& x_shape, Address y, const std::vector<int64_t>& y_shape)
      : kept_(std::move(walker)),
        walker_(nb::cast<const Walker&>(kept_)),
        halved_(halved),
        x_(floats(x)),
        y_(floats(y)),
        x_shape_(x_shape),
        y_shape_(y_shape),
        streams_(x_shape.at(0)) {
    if (x_shape.size() >= MOST_AXES || y_shape.size() >= MOST_AXES)
      throw nb::value_error("more axes than a session knows");
    x_row_ = y_row_ = 1;
    for (size_t i = 1; i < x_shape.size(); ++i) x_row_ *= x_shape[i];
    for (size_t i = 1; i < y_shape.size(); ++i) y_row_ *= y_shape[i];
    int64_t widest = 16;
    for (const Stage& stage : walker_.stages_) widest = std::max(widest, padded(stage.width));
    int64_t room = 0;
    for (const auto& [kind, width] : walker_.kinds_)
      if (kind >= Slot::BLOCK) room += streams_ * (kind == Slot::TILE ? widest : padded(width));
    scratch_ = Room(room);
    std::vector<Fixed> slots;
    float* free = scratch_.get();
    size_t next = 0;
    for (const auto& [kind, width] : walker_.kinds_) {
      if (kind >= Slot::BLOCK) {
        const int64_t row = kind == Slot::TILE ? widest : padded(width);
        slots.push_back({{free, free}, row});
        free += streams_ * row;
      } else {
        const auto& [even, odd, row] = arrays.at(next++);
        slots.push_back({{floats(even), floats(odd)}, row});
      }
    }
    const Plan plan{walker_.stages_.data(), (int32_t)walker_.stages_.size(),
                    walker_.instructions_.data(), walker_.turned_};
    stepper_.reset(walker_.core_.stepper(plan, slots.data(), streams_, walker_.packs_.data(),
                                         (int64_t)walker_.packs_.size(), halved));
    for (const Pack& pack : walker_.packs_) work_ += streams_ * pack.k * pack.n;
  }

  // As Walker's.
  void pack(const std::vector<std::tuple<Address, int64_t, int64_t>>& weights) {
    const Held held(busy_);
    Room packed = arena_ ? std::move(arena_) : Room(walker_.size_);
    for (size_t i = 0; i < walker_.packs_.size(); ++i) {
      const auto& [base, sk, sn] = weights.at(i);
      walker_.core_.pack(walker_.packs_[i], floats(base), sk, sn, packed.get(), 1);
    }
    stepper_->weights(packed.get());
    if (!halved_) arena_ = std::move(packed);
  }

  // What was packed stays true as long as each dict has the same tensor under its key, unchanged.
  void watch(const std::vector<std::tuple<nb::dict, nb::str, nb::object>>& all) {
    watched_.clear();
    for (const auto& [dict, key, tensor] : all)
      watched_.push_back({dict, key, tensor, changes(tensor)});
  }

  bool stale() const {
    for (const Watched& each : watched_)
      if (PyDict_GetItem(each.dict.ptr(), each.key.ptr()) != each.tensor.ptr() ||
          changes(each.tensor) != each.changes)
        return true;
    return false;
  }

  int turn() const { return turn_; }

  // One step, or all steps of a chunk; None where the weights have changed, or an array does not fit.
  nb::object step(nb::handle x, nb::handle out) { return go(x, out, false); }
  nb::object run(nb::handle x, nb::handle out) { return go(x, out, true); }

 private:
  struct Watched {
    nb::dict dict;
    nb::str key;
    nb::object tensor;
    int64_t changes;
  };

  struct Free {
    void operator()(float* room) const { std::free(room); }
  };

  class Room : public std::unique_ptr<float, Free> {
   public:
    Room() = default;
    explicit Room(int64_t floats)
        : unique_ptr(static_cast<float*>(std::aligned_alloc(64, (floats * 4 + 64) / 64 * 64))) {
      if (!get()) throw std::bad_alloc();
    }
  };

  // While a session steps, no other thread may.
  class Held {
   public:
    explicit Held(std::atomic_flag& busy) : busy_(busy) {
      if (busy.test_and_set(std::memory_order_acquire)) {
        PyErr_SetString(nb::module_::import_("ostinato.errors").attr("RowError").ptr(),
                        "Session: expected one step at a time, got a second one from another thread. "
                        "Make a session for each thread: they share nothing but the layer.");
        throw nb::python_error();
      }
    }
    Held(const Held&) = delete;
    ~Held() { busy_.clear(std::memory_order_release); }

   private:
    std::atomic_flag& busy_;
  };

  static int64_t padded(int64_t width) { return (width + 15) / 16 * 16; }

  int64_t changes(const nb::object& tensor) const {
    nb::object number = nb::steal(PyObject_GetAttr(tensor.ptr(), version_.ptr()));
    if (!number.is_valid()) throw nb::python_error();
    return PyLong_AsLongLong(number.ptr());
  }

  // [streams, …], or [streams, T, …] with the T of x.
  static bool fits(const View& view, const std::vector<int64_t>& shape, bool chunk, int64_t time) {
    if (view.axes != (int)shape.size() + chunk || view.shape[0] != shape[0]) return false;
    if (chunk && view.shape[1] != time) return false;
    for (size_t i = 1; i < shape.size(); ++i)
      if (view.shape[i + chunk] != shape[i]) return false;
    return view.together(1 + chunk);
  }

  nb::object go(nb::handle x, nb::handle out, bool chunk) {
    if (stale()) return nb::none();
    const Kinds& kinds = kinds_of_arrays();
    const Kinds::Kind kind = kinds.of(x);
    View from, to;
    if (!kinds.look(x, kind, false, from)) return nb::none();
    const int64_t time = chunk && from.axes > 1 ? from.shape[1] : 1;
    if (!fits(from, x_shape_, chunk, time)) return nb::none();
    nb::object result;
    if (out.is_none()) {
      int64_t shape[MOST_AXES] = {streams_, time};
      std::copy(y_shape_.begin() + 1, y_shape_.end(), shape + 1 + chunk);
      result = kinds.made(kind, (int)y_shape_.size() + chunk, shape, to);
    } else {
      if (!kinds.look(out, kinds.of(out), true, to) || !fits(to, y_shape_, chunk, time))
        return nb::none();
      result = nb::borrow(out);
    }
    const Held held(busy_);
    if (work_ * time >= LARGE) {
      nb::gil_scoped_release let;
      walk(from, to, time);
    } else {
      walk(from, to, time);
    }
    return result;
  }

  void walk(const View& from, const View& to, int64_t time) {
    for (int64_t t = 0; t < time; ++t) {
      const float* x = from.data + (time > 1 ? t * from.stride[1] : 0);
      float* y = to.data + (time > 1 ? t * to.stride[1] : 0);
      for (int64_t r = 0; r < streams_; ++r)
        std::memcpy(x_ + r * x_row_, x + r * from.stride[0], x_row_ * 4);
      stepper_->step(turn_);
      turn_ ^= 1;
      for (int64_t r = 0; r < streams_; ++r)
        std::memcpy(y + r * to.stride[0], y_ + r * y_row_, y_row_ * 4);
    }
  }

  nb::object kept_;
  const Walker& walker_;
  const bool halved_;
  float *const x_, *const y_;
  const std::vector<int64_t> x_shape_, y_shape_;
  const int64_t streams_;
  int64_t x_row_, y_row_, work_ = 0;
  int turn_ = 0;
  Room scratch_, arena_;
  std::unique_ptr<Stepper> stepper_;
  std::vector<Watched> watched_;
  const nb::object version_ = nb::steal(PyUnicode_InternFromString("_version"));
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

}  // namespace
}  // namespace ostinato
