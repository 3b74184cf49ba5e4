//! Checkpoints: safetensors with torchvision's names, so that they load in PyTorch and PyTorch's load here. Ours also say for which network,
//! size and classes they are.

use crate::batch::Normalise;
use crate::engine::Engine;
use crate::error::{Error, Result, guard};
use crate::nets::{Network, Shape};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use smalti_data::files;
use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use tch::{Kind, Tensor};

/// What a checkpoint says of itself; files made elsewhere say nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Description {
    /// Network name.
    pub network: Option<String>,
    /// Side of the images in pixels.
    pub size: Option<u32>,
    /// Class names in the order of the logits.
    pub classes: Option<Vec<String>>,
    /// Mean and standard deviation of the pixels that it was trained with.
    pub constants: Option<Normalise>,
    /// BLAKE3 of the file, in hexadecimal.
    pub blake3: String,
}

const NETWORK: &str = "smalti.network";
const SIZE: &str = "smalti.size";
const CLASSES: &str = "smalti.classes";
const CONSTANTS: &str = "smalti.normalise";

fn wrong_file(path: &Path, cause: &impl Display) -> Error {
    Error::input(format!("cannot read the weights `{}`: {cause}", path.display()), "give a .safetensors file")
}

/// Writes parameters and running statistics in standard layout, with the network's name, its size, `classes` in the order of the
/// logits, and the constants of the pixels that it was trained with.
///
/// # Errors
/// The system's refusal, with the path.
pub fn save(network: &Network, classes: &[String], constants: &Normalise, path: &Path) -> Result<()> {
    let params = network.params().iter().map(|p| (p.name.clone(), bytes_of(&p.tensor)));
    let buffers = network.buffers().iter().map(|(name, tensor)| (name.clone(), bytes_of(tensor)));
    let tensors: Vec<(String, Plain)> = params.chain(buffers).collect();
    let about = HashMap::from([
        (NETWORK.to_owned(), network.name.clone()),
        (SIZE.to_owned(), network.shape.size.to_string()),
        (CLASSES.to_owned(), serde_json::to_string(classes).expect("text")),
        (CONSTANTS.to_owned(), serde_json::to_string(constants).expect("numbers")),
    ]);
    let unwritten =
        |cause| Error::input(format!("cannot write the weights `{}`: {cause}", path.display()), "report this");
    let mut views = Vec::with_capacity(tensors.len());
    for (name, plain) in &tensors {
        views.push((name, TensorView::new(plain.kind, plain.shape.clone(), &plain.bytes).map_err(unwritten)?));
    }
    let file = safetensors::serialize(views, &Some(about)).map_err(unwritten)?;
    Ok(files::write_bytes(path, &file)?)
}

/// A tensor as the file holds it.
struct Plain {
    kind: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn bytes_of(tensor: &Tensor) -> Plain {
    // safetensors wants contiguous tensors; convolution weights are kept channels-last while training.
    let tensor = tensor.detach().contiguous().to_device(tch::Device::Cpu);
    let shape = tensor.size().iter().map(|&side| side as usize).collect();
    let count = tensor.numel();
    match tensor.kind() {
        Kind::Int64 => {
            let mut values = vec![0i64; count];
            tensor.copy_data(&mut values, count);
            Plain { kind: Dtype::I64, shape, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
        }
        _ => {
            let mut values = vec![0f32; count];
            tensor.to_kind(Kind::Float).copy_data(&mut values, count);
            Plain { kind: Dtype::F32, shape, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
        }
    }
}

/// One step of reading a file: its error, or its panic (the library adds up whatever offsets a header has), as an [`Error::Input`].
fn reading<T, E: Display>(path: &Path, step: impl FnOnce() -> Result<T, E>) -> Result<T> {
    guard("the weights", || step().map_err(|cause| wrong_file(path, &cause))).map_err(|error| match error {
        Error::Torch { cause, .. } => wrong_file(path, &cause),
        other => other,
    })
}

/// What a checkpoint says of itself.
///
/// # Errors
/// [`Error::Input`] when it cannot be read or is no safetensors file.
pub fn describe(path: &Path) -> Result<Description> {
    let file = files::read(path)?;
    let (_, header) = reading(path, || SafeTensors::read_metadata(&file))?;
    let said = header.metadata().clone().unwrap_or_default();
    Ok(Description {
        network: said.get(NETWORK).cloned(),
        size: said.get(SIZE).and_then(|size| size.parse().ok()),
        classes: said.get(CLASSES).and_then(|classes| serde_json::from_str(classes).ok()),
        constants: said.get(CONSTANTS).and_then(|constants| serde_json::from_str(constants).ok()),
        blake3: blake3::hash(&file).to_hex().to_string(),
    })
}

/// Builds the network of a checkpoint, with its weights.
///
/// # Errors
/// As [`Network::new`] and [`load`].
pub fn open(path: &Path, network: &str, shape: Shape, engine: &Engine) -> Result<Network> {
    let network = Network::new(network, shape, 0, engine)?;
    load(&network, path)?;
    Ok(network)
}

/// Fills `network` from a safetensors file. Every tensor must be there with its shape, of finite numbers; `num_batches_tracked` is ignored.
///
/// # Errors
/// [`Error::Input`] naming the file and the tensor that is missing, unknown, of another shape or no number.
pub fn load(network: &Network, path: &Path) -> Result<()> {
    let wrong = |what: String| {
        Error::input(
            format!("`{}` does not fit {}: {what}", path.display(), network.name),
            "name the network it was saved from",
        )
    };
    let found = reading(path, || Tensor::read_safetensors(path))?;
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
        if source.isfinite().all().int64_value(&[]) != 1 {
            return Err(Error::input(
                format!("`{}` holds values in `{name}` that are no numbers", path.display()),
                "train the network again, or restore the file",
            ));
        }
        pairs.push((tensor, source));
    }
    for (mut tensor, source) in pairs {
        tch::no_grad(|| tensor.copy_(source));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets whose sum is no number of 64 bits: the library that reads headers adds them up.
    #[test]
    fn a_header_that_adds_up_to_nothing_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("evil.safetensors");
        let largest = u64::MAX;
        let header = format!(r#"{{"a":{{"dtype":"U8","shape":[{largest}],"data_offsets":[0,{largest}]}}}}"#);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        std::fs::write(&path, bytes).expect("written");
        let error = describe(&path).expect_err("refused").to_string();
        assert!(error.contains("cannot read the weights") && error.contains("evil.safetensors"), "{error}");
    }
}
