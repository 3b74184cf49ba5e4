//! What a fixed observer makes of a set: how uncertain it is of its images, and what their labels cost it.

use crate::batch::{Item, Normalise, Views, label_tensor};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::inference::at_once;
use crate::mix::Mix;
use crate::sight::Sight;
use crate::teacher::Teacher;
use smalti_data::store::ImageStore;
use tch::Kind;

/// Means over the views of a set.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Observed {
    /// Entropy of the observer's prediction, H(p(.|x)) = -Σ p ln p, in nats.
    pub entropy: f64,
    /// Cross-entropy of the observer with the set's labels, in nats.
    pub nll: f64,
    /// Percent of views whose label has the largest logit.
    pub top1_percent: f64,
    /// Views.
    pub views: u64,
}

/// Shows `passes` views of every image to the observer, under running statistics.
///
/// # Errors
/// [`Error::Input`] for a set without images; when a spooled image cannot be read back.
pub fn observe(
    observer: &Teacher,
    store: &ImageStore,
    views: &Views,
    passes: u32,
    normalise: &Normalise,
    engine: &Engine,
) -> Result<Observed> {
    if store.is_empty() || passes == 0 {
        return Err(Error::input(
            "there is nothing to observe",
            "give a set with images, and at least one view of each",
        ));
    }
    let (mut entropy, mut nll, mut right) = (0.0, 0.0, 0.0);
    let all: Vec<Item> =
        (0..passes).flat_map(|epoch| (0..store.len() as u32).map(move |index| Item { index, epoch })).collect();
    for items in all.chunks(at_once(store.size())) {
        let sight = Sight::draw(store, items.to_vec(), (views, store.size()), Mix::None, 0)?;
        let labels = label_tensor(&sight.labels(store), engine.device);
        let log = observer.says(&sight.images(store, normalise, engine)?, normalise).log_softmax(-1, Kind::Float);
        entropy -= (log.exp() * &log).sum(Kind::Double).double_value(&[]);
        nll -= log.gather(1, &labels.unsqueeze(1), false).sum(Kind::Double).double_value(&[]);
        right += log.argmax(1, false).eq_tensor(&labels).sum(Kind::Double).double_value(&[]);
    }
    if !(entropy.is_finite() && nll.is_finite()) {
        return Err(Error::input(
            "the teacher says what is no number",
            "its weights are damaged, or its training diverged: give another, or train it with a lower --learning-rate",
        ));
    }
    let views = all.len() as f64;
    Ok(Observed {
        entropy: entropy / views,
        nll: nll / views,
        top1_percent: 100.0 * right / views,
        views: all.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Augment;
    use crate::batch::IMAGENET;
    use crate::distort::Distort;
    use crate::engine::Precision;
    use crate::nets::{Network, Shape};
    use smalti_data::Rgb;
    use smalti_data::crop::CropRange;
    use smalti_data::mosaic::Layout;

    /// A network whose last layer is zero says every class alike: entropy and loss are ln C.
    #[test]
    fn an_observer_that_knows_nothing_has_the_entropy_of_a_fair_die() {
        let engine = Engine::cpu(Precision::F32, 1).expect("fp32 runs anywhere");
        let network = Network::new("convnet-1/4", Shape { classes: 6, size: 8 }, 1, &engine).expect("in the list");
        for param in network.params().iter().filter(|param| param.name.starts_with("classifier")) {
            let _ = tch::no_grad(|| param.tensor.shallow_clone().zero_());
        }
        let observer = Teacher::new(network, (0..6).collect());
        let pictures: Vec<(Rgb, u32)> = (0..5).map(|at| (Rgb::filled(8, 8, [at as u8 * 40; 3]), at)).collect();
        let store = ImageStore::from_images(&pictures, &Layout { grid: 1, size: 8 });
        let views = Views { augment: Augment::Standard, range: CropRange::default(), distort: Distort::None, seed: 0 };
        let found = observe(&observer, &store, &views, 3, &IMAGENET, &engine).expect("observed");
        assert!((found.entropy - 6f64.ln()).abs() < 1e-5 && (found.nll - 6f64.ln()).abs() < 1e-5, "{found:?}");
        assert_eq!(found.views, 15);
        assert!(observe(&observer, &store, &views, 0, &IMAGENET, &engine).is_err());
    }
}
