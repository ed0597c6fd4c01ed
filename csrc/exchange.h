// Arrays of numpy and of torch, read and made without asking either of them in Python: numpy's through
// the buffer protocol, torch's through DLPack's C exchange (dlpack 1.3), which knows no ownership.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace ostinato {
namespace {

namespace nb = nanobind;

constexpr int MOST_AXES = 8;

// The part of dlpack.h that is needed here, member by member.
struct DLTensor {
  void* data;
  int32_t device_type, device_id, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};

struct DLManaged {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DLManaged*);
  uint64_t flags;
  DLTensor tensor;
};

struct DLExchange {
  uint32_t major, minor;
  DLExchange* older;
  void* allocate;
  void* managed_from;
  int (*to_python)(DLManaged*, void** object);
  int (*look)(void* object, DLTensor*);
  void* stream;
};

constexpr int CPU = 1, FLOAT = 2;

// The numbers of an array: where the first one is, and how far they lie apart.
struct View {
  float* data = nullptr;
  int axes = 0;
  int64_t shape[MOST_AXES], stride[MOST_AXES];
  Py_buffer buffer{};

  View() = default;
  View(const View&) = delete;
  ~View() { PyBuffer_Release(&buffer); }

  // Whether the numbers of the last axes, from `first` on, lie one after another.
  bool together(int first) const {
    int64_t next = 1;
    for (int i = axes - 1; i >= first; next *= shape[i--])
      if (shape[i] != 1 && stride[i] != next) return false;
    return true;
  }
};

class Kinds {
 public:
  enum Kind { NEITHER, NUMPY, TORCH };

  Kinds() {
    nb::module_ numpy = nb::module_::import_("numpy"), torch = nb::module_::import_("torch");
    array_ = numpy.attr("ndarray");
    empty_ = numpy.attr("empty");
    float32_ = numpy.attr("dtype")("float32");
    tensor_ = torch.attr("Tensor");
    parameter_ = torch.attr("nn").attr("Parameter");
    nb::object capsule = tensor_.attr("__dlpack_c_exchange_api__");
    exchange_ = (DLExchange*)PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api");
    if (!exchange_) throw nb::python_error();
    while (exchange_ && exchange_->major != 1) exchange_ = exchange_->older;
    if (!exchange_ || !exchange_->look)
      throw nb::import_error("this version of torch lends its arrays in a way that is not known here");
  }

  Kind of(nb::handle x) const {
    PyObject* kind = (PyObject*)Py_TYPE(x.ptr());
    return kind == array_.ptr()                                   ? NUMPY
           : kind == tensor_.ptr() || kind == parameter_.ptr()    ? TORCH
                                                                  : NEITHER;
  }

  // Whether x is an array of floats on this processor.
  bool look(nb::handle x, Kind kind, bool to_write, View& view) const {
    if (kind == NUMPY ? numpy(x, to_write, view) : kind == TORCH && torch(x, view)) return true;
    PyErr_Clear();
    return false;
  }

  nb::object made(Kind kind, int axes, const int64_t* shape, View& view) const {
    if (kind == TORCH) return tensor(axes, shape, view);
    nb::object sizes = nb::steal(PyTuple_New(axes));
    for (int i = 0; i < axes; ++i) PyTuple_SetItem(sizes.ptr(), i, PyLong_FromLongLong(shape[i]));
    PyObject* given[] = {sizes.ptr(), float32_.ptr()};
    nb::object array = nb::steal(PyObject_Vectorcall(empty_.ptr(), given, 2, nullptr));
    if (!array.is_valid() || !numpy(array, true, view)) throw nb::python_error();
    return array;
  }

 private:
  static bool numpy(nb::handle x, bool to_write, View& view) {
    Py_buffer& buffer = view.buffer;
    const int flags = PyBUF_STRIDES | PyBUF_FORMAT | (to_write ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(x.ptr(), &buffer, flags) != 0) return false;
    if (std::strcmp(buffer.format, "f") != 0 || buffer.ndim > MOST_AXES) return false;
    view.data = (float*)buffer.buf;
    view.axes = buffer.ndim;
    for (int i = 0; i < view.axes; ++i) {
      if (buffer.strides[i] % 4) return false;
      view.shape[i] = buffer.shape[i];
      view.stride[i] = buffer.strides[i] / 4;
    }
    return true;
  }

  bool torch(nb::handle x, View& view) const {
    DLTensor tensor;
    if (exchange_->look(x.ptr(), &tensor) != 0) return false;
    if (tensor.device_type != CPU || tensor.code != FLOAT || tensor.bits != 32 || tensor.lanes != 1 ||
        tensor.ndim > MOST_AXES)
      return false;
    view.data = (float*)((char*)tensor.data + tensor.byte_offset);
    view.axes = tensor.ndim;
    std::memcpy(view.shape, tensor.shape, 8 * tensor.ndim);
    std::memcpy(view.stride, tensor.strides, 8 * tensor.ndim);
    return true;
  }

  // A tensor, its shape and its numbers in one piece of memory.
  struct Whole {
    DLManaged managed;
    int64_t shape[MOST_AXES], stride[MOST_AXES];
    alignas(64) float numbers[];
  };

  nb::object tensor(int axes, const int64_t* shape, View& view) const {
    int64_t count = 1;
    for (int i = 0; i < axes; ++i) count *= shape[i];
    Whole* whole = (Whole*)std::aligned_alloc(64, (sizeof(Whole) + count * 4 + 63) / 64 * 64);
    if (!whole) throw std::bad_alloc();
    view.axes = axes;
    view.data = whole->numbers;
    int64_t next = 1;
    for (int i = axes - 1; i >= 0; next *= shape[i--]) {
      view.shape[i] = whole->shape[i] = shape[i];
      view.stride[i] = whole->stride[i] = next;
    }
    whole->managed = {1, 1, whole, [](DLManaged* done) { std::free(done->context); }, 0,
                      {whole->numbers, CPU, 0, axes, FLOAT, 32, 1, whole->shape, whole->stride, 0}};
    void* made = nullptr;
    if (exchange_->to_python(&whole->managed, &made) != 0) throw nb::python_error();
    return nb::steal((PyObject*)made);
  }

  nb::object array_, empty_, float32_, tensor_, parameter_;
  DLExchange* exchange_;
};

// Kept for good: it ends with the process, when Python may be gone.
inline const Kinds& kinds_of_arrays() {
  static const Kinds* known = new Kinds();
  return *known;
}

}  // namespace
}  // namespace ostinato
