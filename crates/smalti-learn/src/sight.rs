//! What one step sees: which images, which part of each, how they are distorted and mixed.

use crate::augment::{View, draw};
use crate::batch::{Item, Normalise, Views, mix_in, viewed_batch};
use crate::distort::Distort;
use crate::engine::Engine;
use crate::error::Result;
use crate::mix::{self, Mix, Mixed};
use smalti_data::random::{Stage, Stream};
use smalti_data::store::ImageStore;
use tch::Tensor;

/// What one step sees of a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    /// The images.
    pub items: Vec<Item>,
    /// The part of each.
    pub views: Vec<View>,
    /// What happens to them then, with the key of its draws: the seed and the number of the step.
    pub distort: (Distort, u64, u64),
    /// How they are mixed, where they are.
    pub mixed: Option<Mixed>,
    /// Side of the views in pixels.
    pub side: u32,
}

impl Sight {
    /// Draws views of `side` px, keyed by (seed, epoch, image), and mixing, keyed by (seed, step): threads and batch size never change a view.
    ///
    /// # Errors
    /// For a mixing that is no distribution.
    pub fn draw(
        store: &ImageStore,
        items: Vec<Item>,
        (views, side): (&Views, u32),
        mix: Mix,
        step: u64,
    ) -> Result<Sight> {
        let view = |item: &Item| {
            let mut stream = Stream::new(views.seed, Stage::Augment, item.epoch, u64::from(item.index));
            draw(views.augment, store.size(), store.tiles(), &views.range, &mut stream)
        };
        let seen = items.iter().map(view).collect();
        let mixed = mix::draw(mix, side, items.len() as u32, views.seed, step)?;
        Ok(Sight { items, views: seen, distort: (views.distort, views.seed, step), mixed, side })
    }

    /// The labels of the images in the store.
    pub fn labels(&self, store: &ImageStore) -> Vec<u32> {
        self.items.iter().map(|item| store.label(item.index)).collect()
    }

    /// The images as the network sees them: [B, 3, side, side] of the engine's kind in channels-last storage.
    ///
    /// # Errors
    /// When a spooled image cannot be read back.
    pub fn images(&self, store: &ImageStore, normalise: &Normalise, engine: &Engine) -> Result<Tensor> {
        let batch = viewed_batch(store, self, normalise, engine)?;
        let (distort, seed, step) = self.distort;
        let batch = distort.apply(&batch, &self.items, normalise, seed, step);
        Ok(self.mixed.as_ref().map_or_else(|| batch.shallow_clone(), |mixed| mix_in(&batch, mixed)))
    }
}
