//! Progressive resizing: the first steps see smaller views, which cost less; the last ones see them at full size.
//!
//! Fast.ai's entry to DAWNBench (2018); arXiv 2104.00298 has it as progressive learning. A view is resized from the stored image in one go,
//! so that nothing is blurred twice. It helps networks whose features are pooled over all places; those with a head of one size refuse it.

use crate::engine::Engine;
use crate::error::{Error, Result, guard};
use crate::nets::{Mode, Network};
use tch::{Kind, Tensor};

/// Sides are multiples of it, so that few sizes occur.
const STEP: f64 = 8.0;

/// The side of views over a training.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// That of the stored images, from the first step to the last.
    #[default]
    None,
    /// It grows in a straight line.
    From {
        /// Side at the start, as a part of the full one.
        part: f64,
        /// Part of the steps after which it is full.
        until: f64,
    },
}

impl Growth {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Growth::None
    }

    /// Side of the views of a step, in pixels, where the stored images have `full` and a part `done` of all steps lies behind.
    pub fn side(self, full: u32, done: f64) -> u32 {
        match self {
            Growth::From { part, until } if done < until => {
                let side = f64::from(full) * (part + (1.0 - part) * done / until);
                // At least one step of it, never more than there is.
                ((side / STEP).round().max(1.0) * STEP).min(f64::from(full)) as u32
            }
            _ => full,
        }
    }

    /// Pixels of a view in the mean over all steps, as a part of those of a full one.
    pub fn area(self, full: u32) -> f64 {
        const MOMENTS: u32 = 1000;
        let part = |moment: u32| f64::from(self.side(full, f64::from(moment) / f64::from(MOMENTS))) / f64::from(full);
        (0..MOMENTS).map(|moment| part(moment).powi(2)).sum::<f64>() / f64::from(MOMENTS)
    }

    /// In words, where there is any.
    pub fn describe(self) -> Option<String> {
        match self {
            Growth::None => None,
            Growth::From { part, until } => {
                Some(format!("from {part} of the side to all of it over the first {:.0} % of the steps", 100.0 * until))
            }
        }
    }

    /// That `network`, which was built for images of `full` px, sees the smallest views too.
    ///
    /// # Errors
    /// [`Error::Input`] for a network with a head of one size, or for views too small for its poolings.
    pub fn check(self, network: &Network, full: u32, engine: &Engine) -> Result<()> {
        let side = self.side(full, 0.0);
        if side == full {
            return Ok(());
        }
        let shape = [2, 3, i64::from(side), i64::from(side)];
        let looks = || {
            let images = Tensor::zeros(shape, (Kind::Float, engine.device)).to_kind(engine.kind);
            tch::no_grad(|| network.forward(&crate::nets::channels_last(&images), Mode::Eval));
            Ok(())
        };
        guard("a small view", looks).map_err(|cause| {
            Error::input(
                format!(
                    "{} was built for {full} px and cannot see views of {side} px, with which this training begins: {cause}",
                    network.name
                ),
                "choose a network that pools over all places (airbench, resnet18), larger images, or a protocol whose views do not grow",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Precision;
    use crate::nets::Shape;

    #[test]
    fn sides_grow_in_steps_to_the_full_one_and_stay() {
        let growth = Growth::From { part: 0.5, until: 0.5 };
        let sides: Vec<u32> = (0..10).map(|step| growth.side(64, f64::from(step) / 10.0)).collect();
        // 32, 38.4, 44.8, 51.2, 57.6 in multiples of 8.
        assert_eq!(sides, [32, 40, 48, 48, 56, 64, 64, 64, 64, 64]);
        assert_eq!(Growth::From { part: 0.01, until: 1.0 }.side(100, 0.0), 8);
        assert_eq!(Growth::From { part: 0.9, until: 1.0 }.side(30, 0.9), 30, "no multiple of 8 beyond the full side");
        assert_eq!(Growth::None.side(30, 0.0), 30);
        // 16 px for 3/16 of the steps, 24 px for 6/16, 32 px for 7/16.
        let area = Growth::From { part: 0.5, until: 0.75 }.area(32);
        assert!((area - (3.0 / 4.0 + 6.0 * 9.0 / 16.0 + 7.0) / 16.0).abs() < 1e-3, "{area}");
        assert_eq!(Growth::None.area(30), 1.0);
    }

    #[test]
    fn a_head_of_one_size_is_refused_before_the_first_step() {
        let engine = Engine::cpu(Precision::F32, 1).expect("fp32 runs anywhere");
        let growth = Growth::From { part: 0.5, until: 0.5 };
        let check = |name: &str| {
            let network = Network::new(name, Shape { classes: 2, size: 32 }, 0, &engine).expect("in the list");
            growth.check(&network, 32, &engine)
        };
        assert!(check("airbench/4").is_ok() && check("resnet18").is_ok());
        let error = check("convnet-2/8").expect_err("its head sees 8 x 8 places").to_string();
        assert!(error.contains("cannot see views of 16 px"), "{error}");
    }
}
