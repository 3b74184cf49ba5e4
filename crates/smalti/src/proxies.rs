//! Settings of the scoring networks: their network, and the protocol by which they are trained.

use crate::error::{of_call, unknown, usage};
use crate::students::{can_crop, check_rate};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use smalti_data::crop::CropRange;
use smalti_learn::batch::Views;
use smalti_learn::labels::LabelKind;
use smalti_learn::mix::Mix;
use smalti_learn::nets::full_name;
use smalti_learn::protocols::{Duration, PROTOCOLS, Protocol};
use smalti_learn::proxy::ProxySpec;
use smalti_learn::schedule::Length;
use smalti_learn::train::TrainSpec;

/// Settings of the scoring networks as far as they were given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProxyRecipe {
    /// Network name.
    pub network: Option<String>,
    /// A row of [`PROTOCOLS`]: how it is trained.
    pub protocol: Option<String>,
    /// Side of the images that it sees, in pixels.
    pub size: Option<u32>,
    /// Passes over the training images.
    pub epochs: Option<u32>,
    /// Networks whose scores are averaged.
    pub seeds: Option<u32>,
    /// Images per step.
    pub batch: Option<u32>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// Smallest area of a training crop, as a part of the image.
    pub crop_min: Option<f64>,
    /// Epochs, from 0, after which every image is looked at without augmentation.
    pub eval_epochs: Option<Vec<u32>>,
}

/// Complete settings of the scoring networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields of ProxyRecipe, made complete")]
pub struct ProxySettings {
    pub network: String,
    /// Left out where it is [`STANDARD`], as before there were others.
    #[serde(default = "standard", skip_serializing_if = "is_standard")]
    pub protocol: String,
    pub size: u32,
    pub epochs: u32,
    pub seeds: u32,
    pub batch: u32,
    pub learning_rate: f64,
    pub crop_min: f64,
    pub eval_epochs: Vec<u32>,
}

/// The protocol of scoring networks unless told otherwise.
const STANDARD: &str = "proxy";
/// That of networks made for few epochs.
const FAST: &str = "fast";

fn standard() -> String {
    STANDARD.to_owned()
}

fn is_standard(name: &String) -> bool {
    name == STANDARD
}

/// Most scoring networks of one run; their seeds are `seed * 100 + i`.
const MAX_PROXIES: u32 = 100;

/// Largest side that scoring networks see unless told otherwise: a ranking needs less detail than a student (docs/proxies.md).
const LARGEST_SIZE: u32 = 32;

/// From this side on the standard network has a block more.
const DEEPER_FROM: u32 = 64;

impl ProxyRecipe {
    /// These settings, and those of `below` where none is given here.
    pub fn over(self, below: ProxyRecipe) -> ProxyRecipe {
        ProxyRecipe {
            network: self.network.or(below.network),
            protocol: self.protocol.or(below.protocol),
            size: self.size.or(below.size),
            epochs: self.epochs.or(below.epochs),
            seeds: self.seeds.or(below.seeds),
            batch: self.batch.or(below.batch),
            learning_rate: self.learning_rate.or(below.learning_rate),
            crop_min: self.crop_min.or(below.crop_min),
            eval_epochs: self.eval_epochs.or(below.eval_epochs),
        }
    }

    /// Complete settings for a set of images of `image_size` px.
    ///
    /// # Errors
    /// For a protocol that is in no list or that scoring networks cannot have, and numbers out of range.
    pub fn settle(&self, image_size: u32) -> Result<ProxySettings> {
        let size = self.size.unwrap_or(image_size.min(LARGEST_SIZE));
        let made_for_few = self.network.as_deref().is_some_and(|network| network.starts_with("airbench"));
        let protocol = known(self.protocol.as_deref().unwrap_or(if made_for_few { FAST } else { STANDARD }))?;
        let network = match protocol.name {
            // Views that grow need a network that pools over all places.
            name if name == FAST || !protocol.growth.is_none() => "airbench/32",
            _ if size < DEEPER_FROM => "convnet-3/64",
            _ => "convnet-4/64",
        };
        let (own_batch, own_epochs) = (protocol.batch.of(usize::MAX, 1), length(protocol).epochs());
        let epochs = self.epochs.or(own_epochs).ok_or_else(|| {
            usage(
                format!("the protocol `{}` counts images, and scores are taken after epochs", protocol.name),
                "say how many with --proxy-epochs (`epochs` under [proxy])",
            )
        })?;
        if self.crop_min.is_some() {
            can_crop(protocol.augment, "`protocol = \"proxy\"`")?;
        }
        let settled = ProxySettings {
            network: full_name(self.network.as_deref().unwrap_or(network)),
            protocol: protocol.name.to_owned(),
            size,
            epochs,
            seeds: self.seeds.unwrap_or(2),
            batch: self.batch.unwrap_or(own_batch),
            learning_rate: self.learning_rate.unwrap_or(protocol.optimiser.learning_rate()),
            crop_min: self.crop_min.unwrap_or(protocol.crop.of(1).scale.0),
            eval_epochs: self.eval_epochs.clone().unwrap_or_else(|| vec![epochs.saturating_sub(1)]),
        };
        settled.check()?;
        Ok(settled)
    }
}

/// A protocol by which scoring networks can be trained.
fn known(name: &str) -> Result<&'static Protocol> {
    let found = Protocol::named(name).ok_or_else(|| unknown("protocol", name, PROTOCOLS.iter().map(|p| p.name)))?;
    if found.labels != LabelKind::Hard || found.mix != Mix::None {
        return Err(usage(
            format!("scoring networks cannot be trained under `{name}`: they judge single images by their own labels"),
            "choose a protocol with hard labels and without mixing, such as `proxy` or `fast`",
        ));
    }
    Ok(found)
}

fn length(protocol: &Protocol) -> Length {
    match protocol.length {
        Duration::Fixed(length) => length,
        Duration::Minimax => Length::Epochs(10),
    }
}

impl ProxySettings {
    fn check(&self) -> Result<()> {
        let bad = |what: String, hint: &str| Err(usage(what, hint));
        let ProxySettings { epochs, seeds, batch, .. } = *self;
        if epochs == 0 || batch == 0 || seeds == 0 || seeds > MAX_PROXIES {
            let hint = "give --proxy-epochs, --proxy-seeds (at most 100) and a batch of at least 1";
            return bad(format!("{seeds} proxies of {epochs} epochs with batches of {batch} score nothing"), hint);
        }
        if !self.eval_epochs.iter().all(|&e| e < epochs) || self.eval_epochs.is_empty() {
            let hint = "count epochs from 0, and name at least one below `epochs`";
            return bad(format!("eval-epochs {:?} are not epochs of {epochs}", self.eval_epochs), hint);
        }
        self.crop().check().map_err(of_call)?;
        check_rate(self.learning_rate, "give `learning-rate = 0.001` under [proxy], say")?;
        Ok(())
    }

    fn crop(&self) -> CropRange {
        CropRange { scale: (self.crop_min, 1.0), ..CropRange::default() }
    }

    /// What the training loop needs for a set of so many classes; stage and seeds are left to the task.
    ///
    /// # Errors
    /// For a protocol that is in no list.
    pub fn spec(&self, classes: usize) -> Result<ProxySpec> {
        let protocol = known(&self.protocol)?;
        let length = match length(protocol) {
            Length::SmoothEpochs(_) => Length::SmoothEpochs(self.epochs),
            _ => Length::Epochs(self.epochs),
        };
        let views = Views { augment: protocol.augment, range: self.crop(), distort: protocol.distort, seed: 0 };
        let train = TrainSpec {
            stage: String::new(),
            optimiser: protocol.optimiser_for(&self.network).with_learning_rate(self.learning_rate),
            rate: protocol.rate,
            batch: self.batch,
            length,
            views,
            growth: protocol.growth,
            mix: protocol.mix,
            normalise: protocol.constants.of(classes, self.size),
            statistics: protocol.statistics,
            seed: 0,
        };
        Ok(ProxySpec { network: self.network.clone(), train, eval_epochs: self.eval_epochs.clone() })
    }

    /// The seeds of the proxies behind the set with this `seed`: no two sets share one.
    pub fn seeds_for(&self, seed: u64) -> Vec<u64> {
        (0..u64::from(self.seeds)).map(|i| seed.wrapping_mul(u64::from(MAX_PROXIES)).wrapping_add(i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hint_of;
    use smalti_learn::augment::Augment;
    use smalti_learn::batch::IMAGENET;
    use smalti_learn::distort::Distort;
    use smalti_learn::optim::OptimiserSpec;
    use smalti_learn::schedule::Rate;

    #[test]
    fn the_standard_is_what_it_was_before_protocols_were_named() {
        let small = ProxyRecipe::default().settle(96).expect("settled");
        assert_eq!((small.network.as_str(), small.size, small.seeds), ("convnet-3/64-bn", 32, 2));
        assert_eq!(ProxyRecipe::default().settle(28).expect("settled").size, 28, "no image is enlarged for them");
        let settled = ProxyRecipe { size: Some(64), ..ProxyRecipe::default() }.settle(96).expect("settled");
        let text = toml::to_string(&settled).expect("numbers and strings");
        assert!(!text.contains("protocol") && toml::from_str::<ProxySettings>(&text).expect("read back") == settled);
        let ProxySpec { network, train, eval_epochs } = settled.spec(10).expect("in the list");
        assert_eq!((network.as_str(), eval_epochs, train.batch), ("convnet-4/64-bn", vec![9], 128));
        assert_eq!(train.optimiser, OptimiserSpec::AdamW { learning_rate: 1e-3, weight_decay: 0.01 });
        assert_eq!((train.rate, train.length, train.mix), (Rate::Cosine, Length::Epochs(10), Mix::None));
        let views = (train.views.augment, train.views.distort, train.views.range.scale, train.normalise);
        assert_eq!(views, (Augment::Standard, Distort::None, (0.25, 1.0), IMAGENET));
    }

    #[test]
    fn a_network_made_for_few_epochs_brings_its_protocol_and_the_protocol_its_network() {
        let by_network = ProxyRecipe { network: Some("airbench/16".into()), ..ProxyRecipe::default() };
        let settled = by_network.settle(32).expect("settled");
        assert_eq!((settled.protocol.as_str(), settled.epochs, settled.eval_epochs.clone()), ("fast", 8, vec![7]));
        let train = settled.spec(10).expect("in the list").train;
        assert_eq!((train.length, train.views.distort), (Length::SmoothEpochs(8), Distort::Alternating));
        let by_protocol = ProxyRecipe { protocol: Some("fast".into()), epochs: Some(3), ..ProxyRecipe::default() };
        let settled = by_protocol.settle(64).expect("settled");
        assert_eq!((settled.network.as_str(), settled.epochs), ("airbench/32", 3));
        let growing = ProxyRecipe { protocol: Some("fast-growing".into()), ..ProxyRecipe::default() };
        assert_eq!(growing.settle(64).expect("settled").network, "airbench/32");
    }

    #[test]
    fn what_a_protocol_has_no_use_for_or_lacks_is_refused() {
        let of = |protocol: &str| ProxyRecipe { protocol: Some(protocol.into()), ..ProxyRecipe::default() };
        let cropped = ProxyRecipe { crop_min: Some(0.5), ..of("fast") }.settle(32).expect_err("fast crops nothing");
        assert!(cropped.to_string().contains("crops nothing"), "{cropped}");
        let endless = of("small").settle(32).expect_err("no epochs");
        assert!(hint_of(&endless).expect("a hint").contains("--proxy-epochs"), "{endless}");
        let told =
            ProxyRecipe { epochs: Some(3), crop_min: Some(0.5), ..of("small") }.settle(32).expect("both are said");
        assert_eq!((told.epochs, told.crop_min), (3, 0.5));
    }

    #[test]
    fn protocols_that_do_not_judge_single_images_are_refused() {
        for (name, said) in [("soft", "cannot be trained"), ("minimax", "cannot be trained"), ("fats", "fats")] {
            let recipe = ProxyRecipe { protocol: Some(name.into()), ..ProxyRecipe::default() };
            let error = recipe.settle(32).expect_err("refused");
            assert!(error.to_string().contains(said), "{error}");
            assert!(hint_of(&error).expect("a hint").contains("fast"), "{error}");
        }
    }
}
