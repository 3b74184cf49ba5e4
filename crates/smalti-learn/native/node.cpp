// What libtorch's C interface lacks: a node of the autograd graph whose backward pass belongs to the caller, whether gradients are recorded, and its pool of threads.
// src/fused/node.rs is the other side, and says what the pointers are.

#include <ATen/TensorIterator.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>

namespace {

// Room for a message; what does not fit is cut off.
struct Cause {
  char *text;
  size_t room;
};

using Backward = int (*)(void *state, at::Tensor *gradient, at::Tensor **of_inputs, Cause cause);
using Drop = void (*)(void *state);
using Run = void (*)(const void *state, size_t index);

constexpr size_t LONGEST_CAUSE = 4096;

struct Foreign final : torch::autograd::Node {
  Foreign(void *state, size_t inputs, Backward backward, Drop drop) : state(state), inputs(inputs), backward(backward), drop(drop) {}

  ~Foreign() override { release_variables(); }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state != nullptr) drop(state);
    state = nullptr;
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
    std::lock_guard<std::mutex> lock(mutex_);
    torch::autograd::variable_list result(inputs);
    if (!gradients[0].defined()) return result;
    if (at::GradMode::is_enabled()) throw std::runtime_error("a fused layer has no second derivative");
    if (state == nullptr) throw std::runtime_error("the graph of a fused layer was freed by an earlier backward pass");
    std::vector<at::Tensor *> of_inputs(inputs, nullptr);
    std::string cause(LONGEST_CAUSE, '\0');
    if (backward(state, &gradients[0], of_inputs.data(), {cause.data(), cause.size()}) != 0) throw std::runtime_error(cause.c_str());
    for (size_t i = 0; i < inputs; ++i) {
      result[i] = std::move(*of_inputs[i]);
      delete of_inputs[i];
    }
    return result;
  }

  void *state;
  const size_t inputs;
  const Backward backward;
  const Drop drop;
};

// Runs `work`; 0, or 1 with the cause where it throws.
template <typename Work> int told(Cause cause, Work work) {
  const auto tell = [&](const char *what) {
    std::strncpy(cause.text, what, cause.room - 1);
    cause.text[cause.room - 1] = '\0';
    return 1;
  };
  try {
    work();
    return 0;
  } catch (const std::exception &error) {
    return tell(error.what());
  } catch (...) {
    return tell("an exception without a message");
  }
}

} // namespace

// Whether operations are recorded now, which `no_grad` stops.
extern "C" int smalti_records() { return at::GradMode::is_enabled() ? 1 : 0; }

// Makes `output`, which has no history and is no view, the function of `inputs` whose gradients `backward` computes. Takes `state`.
extern "C" int smalti_attach(at::Tensor *output, at::Tensor *const *inputs, size_t count, void *state, Backward backward, Drop drop, Cause cause) {
  return told(cause, [&] {
    std::shared_ptr<Foreign> node(new Foreign(state, count, backward, drop), torch::autograd::deleteNode);
    if (output->requires_grad() || output->is_view()) throw std::runtime_error("the output of a fused layer has a history already");
    for (size_t i = 0; i < count; ++i) node->add_next_edge(torch::autograd::impl::gradient_edge(*inputs[i]));
    torch::autograd::create_gradient_edge(*output, node);
  });
}

// Calls `run`, which never unwinds, for every index below `count`, on libtorch's threads. The loop over a tensor of so many bytes is libtorch's own code: it needs no OpenMP
// from this compiler, which could be another than libtorch's.
extern "C" int smalti_parallel(size_t count, const void *state, Run run, Cause cause) {
  return told(cause, [&] {
    const at::Tensor places = at::empty({static_cast<int64_t>(count)}, at::kByte);
    const char *first = static_cast<const char *>(places.data_ptr());
    auto loop = [&](char **data, const int64_t *strides, int64_t inner, int64_t outer) {
      for (int64_t j = 0; j < outer; ++j)
        for (int64_t i = 0; i < inner; ++i) run(state, static_cast<size_t>(data[0] + j * strides[1] + i * strides[0] - first));
    };
    at::TensorIterator::borrowing_nullary_op(places).for_each(loop, 1);
  });
}
