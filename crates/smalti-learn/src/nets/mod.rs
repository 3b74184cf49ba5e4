//! Networks. Every initial value is drawn from our own generator with PyTorch's distributions; names are torchvision's.

mod airbench;
mod at_rest;
mod builder;
mod convnet;
mod efficientnet;
mod layers;
mod mobilenet;
mod noise;
mod resnet;
mod resnet_ap;
mod swin;
mod taps;

pub use builder::{Param, Role};
pub(crate) use layers::channels_last;
pub use noise::NoiseStrength;
pub use taps::{Hearing, Layer, Moments, Seen};

use crate::batch::{Normalise, plain_batch};
use crate::engine::Engine;
use crate::error::{Error, Result};
use builder::{Builder, Parts};
use noise::Noise;
use smalti_data::mosaic::Layout;
use smalti_data::store::ImageStore;
use std::rc::Rc;
use taps::Taps;
use tch::{Kind, Tensor};

/// Whether normalisation uses the batch (and updates running statistics) or the running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics.
    Train,
    /// Running statistics.
    Eval,
}

/// A family of networks: one row of the list that the command line, the documents and the tests read.
pub struct Family {
    /// How its names look.
    pub grammar: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Names to try it with.
    pub examples: &'static [&'static str],
    build: fn(&str, &mut Builder, Shape) -> Option<Box<dyn Body>>,
}

/// All families.
pub const FAMILIES: &[Family] = &[
    convnet::FAMILY,
    resnet::FAMILY,
    resnet_ap::FAMILY,
    mobilenet::FAMILY,
    efficientnet::FAMILY,
    swin::FAMILY,
    airbench::FAMILY,
];

/// What the network must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of classes.
    pub classes: usize,
    /// Height and width of the input in pixels.
    pub size: u32,
}

/// The forward pass of a family.
trait Body {
    /// From images [B, 3, S, S] (channels-last storage, the engine's kind) to penultimate features [B, F], fp32.
    fn features(&self, images: &Tensor, mode: Mode) -> Tensor;
    /// From features [B, F] to logits [B, C], fp32.
    fn head(&self, features: &Tensor) -> Tensor;
    /// Sets what depends on the training images: called once before training with a way to get some of them, [B, 3, S, S].
    fn look_first(&self, _images: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        Ok(())
    }
}

/// Logits [B, C] and penultimate features [B, F], both fp32.
pub struct Output {
    /// One row of class scores per image.
    pub logits: Tensor,
    /// What the last linear layer sees.
    pub features: Tensor,
}

/// A network with its parameters.
pub struct Network {
    /// Its full name, norm and width included.
    pub name: String,
    /// What it was built for.
    pub shape: Shape,
    params: Vec<Param>,
    buffers: Vec<(String, Tensor)>,
    body: Box<dyn Body>,
    noise: Rc<Noise>,
    taps: Rc<Taps>,
    kind: Kind,
}

impl Network {
    /// Builds `name` with initial weights drawn from `seed`.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown name (the hint lists the grammars) or an input too small for the depth.
    pub fn new(name: &str, shape: Shape, seed: u64, engine: &Engine) -> Result<Network> {
        if shape.classes == 0 || shape.size == 0 {
            let what =
                format!("a network for {} classes of images of {} px has nothing to learn", shape.classes, shape.size);
            return Err(Error::input(what, "give it a set with classes and images"));
        }
        let mut builder = Builder::new(seed, engine);
        let body = FAMILIES.iter().find_map(|family| (family.build)(name, &mut builder, shape)).ok_or_else(|| {
            let names: Vec<_> = FAMILIES.iter().map(|f| f.grammar).collect();
            Error::input(format!("there is no network `{name}` for {} px", shape.size), names.join("; "))
        })?;
        let Parts { params, buffers, noise, taps } = builder.finish();
        Ok(Network { name: full_name(name), shape, params, buffers, body, noise, taps, kind: engine.kind })
    }

    /// A network `name` for images of `size` px and two classes, to find out before any work whether there is one.
    ///
    /// # Errors
    /// As [`Network::new`]; for a side that no image can have.
    pub fn trial(name: &str, size: u32, engine: &Engine) -> Result<Network> {
        Layout::new(1, size)?;
        Network::new(name, Shape { classes: 2, size }, 0, engine)
    }

    /// Whether dropout and stochastic depth leave anything out in training; they do until told otherwise.
    pub fn set_noise(&self, strength: NoiseStrength) {
        self.noise.set(strength);
    }

    /// Trainable tensors in definition order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Running statistics by name, in definition order.
    pub fn buffers(&self) -> &[(String, Tensor)] {
        &self.buffers
    }

    /// Running mean and variance of every batch norm, each `[C]`, in definition order.
    pub fn norms(&self) -> Vec<Moments> {
        let of = |ending: &'static str| {
            self.buffers
                .iter()
                .filter(move |(name, _)| name.ends_with(ending))
                .map(|(_, tensor)| tensor.shallow_clone())
        };
        of("running_mean").zip(of("running_var")).map(|(mean, variance)| Moments { mean, variance }).collect()
    }

    /// Number of convolutions.
    pub fn convolutions(&self) -> usize {
        self.taps.convolutions()
    }

    /// A pass under running statistics, and what its layers see in it.
    pub fn forward_heard(&self, images: &Tensor, hearing: Hearing) -> (Output, Vec<Seen>) {
        self.taps.listen(hearing, || self.forward(images, Mode::Eval))
    }

    /// Sets what depends on the training images: as many of them, evenly from the whole store, as have the pixels of 5,000 at 32 px.
    ///
    /// # Errors
    /// When a spooled image cannot be read back.
    pub(crate) fn look_first(&self, store: &ImageStore, normalise: &Normalise, engine: &Engine) -> Result<()> {
        let most = FIRST_LOOK / (store.size() as usize).pow(2);
        let count = most.clamp(1, store.len());
        let evenly: Vec<u32> = (0..count).map(|place| (place * store.len() / count) as u32).collect();
        self.body.look_first(&|| plain_batch(store, &evenly, normalise, engine))
    }

    /// The kind of number it computes in.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Number of trainable numbers.
    pub fn size(&self) -> u64 {
        self.params.iter().map(|p| p.tensor.numel() as u64).sum()
    }

    /// Whether all parameters and running statistics are numbers.
    pub fn is_finite(&self) -> bool {
        let params = self.params.iter().map(|param| &param.tensor);
        params
            .chain(self.buffers.iter().map(|(_, tensor)| tensor))
            .all(|tensor| tensor.isfinite().all().int64_value(&[]) == 1)
    }

    /// That every image of `store` has the size, and every label a place, that the network was built for; `stage` names who asks.
    ///
    /// # Errors
    /// [`Error::Input`] naming the size or the label.
    pub fn check_fits(&self, store: &ImageStore, stage: &str) -> Result<()> {
        let Shape { classes, size } = self.shape;
        if store.size() != size {
            return Err(Error::input(
                format!(
                    "{stage}: the images are {0} x {0} px and {1} was built for {size} x {size}",
                    store.size(),
                    self.name
                ),
                "use one --size for training and test images",
            ));
        }
        match (0..store.len() as u32).map(|index| store.label(index)).max() {
            Some(label) if label as usize >= classes => Err(Error::input(
                format!("{stage}: there is an image of class {label} and {} tells {classes} classes apart", self.name),
                "give it training and test images with the same classes",
            )),
            _ => Ok(()),
        }
    }

    /// Runs the network on normalised images [B, 3, S, S] of any kind, fastest in the engine's kind and channels-last storage.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Output {
        if mode == Mode::Train {
            self.noise.next_pass();
        }
        let features = self.body.features(&images.to_kind(self.kind), mode);
        Output { logits: self.body.head(&features), features }
    }
}

/// Pixels of the training images that a network may look at before it is trained.
const FIRST_LOOK: usize = 5000 * 32 * 32;

/// The name with its defaults written out: `convnet-3` becomes `convnet-3/128-bn`.
pub fn full_name(name: &str) -> String {
    convnet::Spec::parse(name).map_or_else(|| name.to_owned(), |spec| spec.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Precision;

    fn network(name: &str, size: u32) -> Network {
        let engine = Engine::cpu(Precision::F32, 0).expect("fp32 runs anywhere");
        Network::new(name, Shape { classes: 10, size }, 1, &engine).expect("in the list")
    }

    /// Counts from torchvision (`sum(p.numel() for p in resnet18(num_classes=10).parameters())`) and, for the ConvNets, by hand.
    #[test]
    fn every_example_of_the_list_runs_and_has_the_published_size() {
        let counts = [
            ("convnet-3", 320_010),
            ("convnet-4/64-bn", 115_658),
            ("convnet-3-in", 320_010),
            ("resnet18", 11_181_642),
            // The small stem has 3*3 instead of 7*7 weights per channel pair.
            ("resnet18-small", 11_181_642 - 3 * 64 * (49 - 9)),
            ("resnet34", 21_289_802),
            ("resnet50", 23_528_522),
            ("resnet101", 42_520_650),
            // One block per stage instead of two: 73,984 + 295,424 + 1,180,672 + 4,720,640 numbers less than the next.
            ("resnet10-ap", 4_903_242),
            ("resnet18-ap-bn", 11_181_642 - 3 * 64 * (49 - 9)),
            ("mobilenet_v2", 2_236_682),
            ("efficientnet_b0", 4_020_358),
            ("swin_t", 27_527_044),
            // 24 + (24 + 64) * 64 * 9 + (64 + 256) * 256 * 9 + 2 * 256 * 256 * 9 + 4 * (64 + 256 + 256) + 256 * 10.
            ("airbench", 1_972_504),
            ("airbench/32", 497_816),
            // 24 * 3 * 4 more, which the other keeps and never learns.
            ("airbench/32-learnt", 498_104),
        ];
        let examples = FAMILIES.iter().flat_map(|family| family.examples);
        assert!(examples.eq(counts.iter().map(|(name, _)| name)), "every example is in this table");
        for (name, count) in counts {
            let net = network(name, 32);
            assert_eq!(net.size(), count, "{name}");
            let images = Tensor::ones([2, 3, 32, 32], (Kind::Float, tch::Device::Cpu));
            let out = tch::no_grad(|| net.forward(&images, Mode::Eval));
            assert_eq!((out.logits.size(), out.features.size()[0]), (vec![2, 10], 2), "{name}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_weights_and_another_seed_others() {
        let engine = Engine::cpu(Precision::F32, 0).expect("fp32 runs anywhere");
        let shape = Shape { classes: 10, size: 32 };
        let [a, again, other] =
            [1, 1, 2].map(|seed| Network::new("convnet-3", shape, seed, &engine).expect("in the list"));
        for (i, param) in a.params().iter().enumerate() {
            assert_eq!(param.tensor, again.params()[i].tensor, "{}", param.name);
            let differs = param.tensor != other.params()[i].tensor;
            assert!(differs || param.role != Role::Weight, "{}", param.name);
        }
    }

    /// PyTorch's defaults: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weight and bias, hence a standard deviation of bound/sqrt(3);
    /// ResNet convolutions N(0, 2/fan_out); norms 1 and 0.
    #[test]
    fn initial_weights_have_pytorchs_moments() {
        let check = |net: &Network, name: &str, sd: f64| {
            let found = net.params().iter().find(|p| p.name == name).expect(name);
            let measured = found.tensor.std(false).double_value(&[]);
            assert!((measured / sd - 1.0).abs() < 0.02, "{name}: {measured} against {sd}");
            assert!(found.tensor.mean(Kind::Float).double_value(&[]).abs() < 0.02 * sd + 1e-4, "{name}");
        };
        let net = network("convnet-3", 32);
        check(&net, "features.4.weight", 1.0 / (128.0 * 9.0 * 3.0f64).sqrt());
        check(&net, "classifier.weight", 1.0 / (2048.0f64 * 3.0).sqrt());
        let net = network("resnet18", 224);
        check(&net, "layer2.0.conv1.weight", (2.0 / (128.0 * 9.0f64)).sqrt());
        let norm = net.params().iter().find(|p| p.name == "layer1.0.bn1.weight").expect("a norm");
        assert_eq!(norm.tensor.min().double_value(&[]), 1.0);
    }

    #[test]
    fn an_unknown_network_lists_the_known_ones() {
        let engine = Engine::cpu(Precision::F32, 0).expect("fp32 runs anywhere");
        let error =
            Network::new("resnet19", Shape { classes: 2, size: 32 }, 0, &engine).err().expect("no such network");
        assert!(error.hint().expect("a hint").contains("resnet18"), "{error}");
    }
}
