//! ConvNet-d: d blocks of 3x3 convolution, normalisation, ReLU and 2x2 average pooling, then one linear layer.
//!
//! The student of the distillation literature (Gidaris and Komodakis, CVPR 2018; Zhao et al., "Dataset condensation", ICLR 2021).
//! Two forms exist and are often confused: DC-type code normalises each image (`-in`), RDED-type code the batch (`-bn`).

use super::builder::Builder;
use super::layers::{ConvNorm, Geometry, Linear};
use super::{Body, Family, Mode, Shape};
use crate::fused::After;
use std::fmt;
use tch::{Kind, Tensor};

pub(super) const FAMILY: Family = Family {
    grammar: "convnet-DEPTH[/WIDTH][-bn|-in], such as convnet-3 (width 128, batch norm)",
    about: "DEPTH blocks of 3x3 convolution, norm, ReLU, 2x2 average pooling; one linear layer",
    paper: "arXiv 2006.05929",
    examples: &["convnet-3", "convnet-4/64-bn", "convnet-3-in"],
    build,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NormForm {
    Batch,
    Instance,
}

/// A parsed name.
pub(super) struct Spec {
    depth: u32,
    width: i64,
    norm: NormForm,
}

impl Spec {
    pub fn parse(name: &str) -> Option<Spec> {
        let rest = name.strip_prefix("convnet-")?;
        let (rest, norm) = match (rest.strip_suffix("-bn"), rest.strip_suffix("-in")) {
            (Some(rest), _) => (rest, NormForm::Batch),
            (_, Some(rest)) => (rest, NormForm::Instance),
            _ => (rest, NormForm::Batch),
        };
        let (depth, width) = rest.split_once('/').unwrap_or((rest, "128"));
        let (depth, width) = (depth.parse().ok()?, width.parse().ok()?);
        ((1..=8).contains(&depth) && (1..=4096).contains(&width)).then_some(Spec { depth, width, norm })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let norm = if self.norm == NormForm::Batch { "bn" } else { "in" };
        write!(f, "convnet-{}/{}-{norm}", self.depth, self.width)
    }
}

struct ConvNet {
    blocks: Vec<ConvNorm>,
    classifier: Linear,
}

fn build(name: &str, builder: &mut Builder, shape: Shape) -> Option<Box<dyn Body>> {
    let spec = Spec::parse(name)?;
    let side = i64::from(shape.size >> spec.depth);
    if side == 0 {
        return None;
    }
    let geometry = Geometry::centred(3, 1);
    let blocks = (0..spec.depth)
        .map(|block| {
            let inputs = if block == 0 { 3 } else { spec.width };
            // Each block is four entries of the reference's Sequential: conv, norm, ReLU, pool.
            let conv = builder.conv_default(&format!("features.{}", 4 * block), inputs, spec.width, geometry);
            let norm_name = format!("features.{}", 4 * block + 1);
            let norm = match spec.norm {
                NormForm::Batch => builder.batch_norm(&norm_name, spec.width),
                NormForm::Instance => builder.instance_norm(&norm_name, spec.width),
            };
            ConvNorm { conv, norm }
        })
        .collect();
    let classifier = builder.linear("classifier", spec.width * side * side, shape.classes as i64);
    Some(Box::new(ConvNet { blocks, classifier }))
}

impl Body for ConvNet {
    fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        let mut x = images.shallow_clone();
        for block in &self.blocks {
            x = block.then(&x, mode, After::ReluPool);
        }
        x.to_kind(Kind::Float).flatten(1, -1) // [B, width * side²], channel-major as in the reference
    }

    fn head(&self, features: &Tensor) -> Tensor {
        self.classifier.forward(features)
    }
}
