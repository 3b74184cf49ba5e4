// The two things of libtorch that its C interface lacks: a node of the autograd graph whose backward pass belongs to the caller, and its pool of threads.
// src/fused/node.rs is the other side, and says what the pointers are.

#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <cstdint>
#include <stdexcept>

namespace {

using Backward = int (*)(void *state, at::Tensor *gradient, at::Tensor **of_inputs);
using Drop = void (*)(void *state);
using Run = void (*)(const void *state, size_t index);

struct Foreign final : torch::autograd::Node {
  Foreign(void *state, size_t inputs, Backward backward, Drop drop) : state(state), inputs(inputs), backward(backward), drop(drop) {}

  ~Foreign() override { release_variables(); }

  void release_variables() override {
    if (state != nullptr) drop(state);
    state = nullptr;
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list &&gradients) override {
    torch::autograd::variable_list result(inputs);
    if (!gradients[0].defined()) return result;
    if (state == nullptr) throw std::runtime_error("the graph of a fused layer was freed by an earlier backward pass");
    std::vector<at::Tensor *> of_inputs(inputs, nullptr);
    if (backward(state, &gradients[0], of_inputs.data()) != 0) throw std::runtime_error("the backward pass of a fused layer panicked");
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

} // namespace

// Makes `output`, which has no history, the function of `inputs` whose gradients `backward` computes. Takes `state`. 0, or 1 where libtorch refuses.
extern "C" int smalti_attach(at::Tensor *output, at::Tensor *const *inputs, size_t count, void *state, Backward backward, Drop drop) {
  try {
    std::shared_ptr<Foreign> node(new Foreign(state, count, backward, drop), torch::autograd::deleteNode);
    for (size_t i = 0; i < count; ++i) node->add_next_edge(torch::autograd::impl::gradient_edge(*inputs[i]));
    torch::autograd::create_gradient_edge(*output, node);
    return 0;
  } catch (...) {
    return 1;
  }
}

// Calls `run`, which never unwinds, for every index below `count`, on libtorch's threads. The loop over a tensor of so many bytes is libtorch's own code: it needs no OpenMP
// from this compiler, which could be another than libtorch's. 0, or 1 where libtorch refuses.
extern "C" int smalti_parallel(size_t count, const void *state, Run run) {
  try {
    const at::Tensor places = at::empty({static_cast<int64_t>(count)}, at::kByte);
    const char *first = static_cast<const char *>(places.data_ptr());
    auto loop = [&](char **data, const int64_t *strides, int64_t inner, int64_t outer) {
      for (int64_t j = 0; j < outer; ++j)
        for (int64_t i = 0; i < inner; ++i) run(state, static_cast<size_t>(data[0] + j * strides[1] + i * strides[0] - first));
    };
    at::TensorIterator::borrowing_nullary_op(places).for_each(loop, 1);
    return 0;
  } catch (...) {
    return 1;
  }
}
