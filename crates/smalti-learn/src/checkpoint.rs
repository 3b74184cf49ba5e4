//! Checkpoints: safetensors with torchvision's names, so that they load in PyTorch and PyTorch's load here.

use crate::error::{Error, Result};
use crate::nets::Network;
use smalti_data::files;
use std::path::Path;
use tch::Tensor;

/// Writes parameters and running statistics as fp32 in standard layout.
///
/// # Errors
/// libtorch's or the system's refusal, with the path.
pub fn save(network: &Network, path: &Path) -> Result<()> {
    // safetensors wants contiguous tensors; convolution weights are kept channels-last while training.
    let plain = |tensor: &Tensor| tensor.detach().contiguous();
    let params = network.params().iter().map(|p| (p.name.as_str(), plain(&p.tensor)));
    let buffers = network.buffers().iter().map(|(name, tensor)| (name.as_str(), plain(tensor)));
    let tensors: Vec<(&str, Tensor)> = params.chain(buffers).collect();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(smalti_data::Error::io("create the folder", parent))?;
    }
    let partial = files::partial_of(path);
    Tensor::write_safetensors(&tensors, &partial).map_err(|e| {
        Error::input(format!("cannot write the checkpoint `{}`: {e}", path.display()), "check the disk")
    })?;
    files::rename(&partial, path)?;
    Ok(())
}

/// Fills `network` from a safetensors file. Every tensor must be there with its shape; `num_batches_tracked` is ignored.
///
/// # Errors
/// [`Error::Input`] naming the file and the tensor that is missing, unknown or of another shape.
pub fn load(network: &Network, path: &Path) -> Result<()> {
    let wrong = |what: String| {
        Error::input(
            format!("`{}` does not fit {}: {what}", path.display(), network.name),
            "name the network it was saved from",
        )
    };
    let found = Tensor::read_safetensors(path).map_err(|e| {
        Error::input(format!("cannot read the weights `{}`: {e}", path.display()), "give a .safetensors file")
    })?;
    let mut wanted: Vec<(&str, Tensor)> =
        network.params().iter().map(|p| (p.name.as_str(), p.tensor.detach())).collect();
    wanted.extend(network.buffers().iter().map(|(name, tensor)| (name.as_str(), tensor.shallow_clone())));
    let known = |key: &str| key.ends_with("num_batches_tracked") || wanted.iter().any(|(name, _)| *name == key);
    if let Some((key, _)) = found.iter().find(|(key, _)| !known(key)) {
        return Err(wrong(format!("it has a tensor `{key}` that the network lacks")));
    }
    // Everything is checked before anything is changed.
    let mut pairs = Vec::with_capacity(wanted.len());
    for (name, tensor) in wanted {
        let source = found.iter().find(|(key, _)| key == name);
        let (_, source) = source.ok_or_else(|| wrong(format!("it has no `{name}`")))?;
        if source.size() != tensor.size() {
            return Err(wrong(format!("`{name}` is {:?} and not {:?}", source.size(), tensor.size())));
        }
        pairs.push((tensor, source));
    }
    for (mut tensor, source) in pairs {
        tch::no_grad(|| tensor.copy_(source));
    }
    Ok(())
}
