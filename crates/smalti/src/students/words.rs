//! Training settings in words, for tables and pages.

use super::Training;
use crate::ui::count;
use smalti_data::store::Fit;
use smalti_learn::optim::OptimiserSpec;
use smalti_learn::protocols::Duration;
use smalti_learn::schedule::Length;
use smalti_learn::train::StatisticsUpdate;

impl Training {
    fn describe_crops(&self) -> String {
        let crops = if self.augment.crops() { self.crop.describe() } else { "no crop".to_owned() };
        let growth = self.growth.describe().map_or_else(String::new, |words| format!(", {words}"));
        format!("{}, {crops}{growth}", self.augment.name())
    }

    /// How the views of a step are drawn, in words.
    pub fn describe_views(&self) -> String {
        format!("{}, then {}, mixing {}", self.describe_crops(), self.distort.name(), self.mix.describe())
    }

    /// The settings in words, for tables and pages.
    pub fn describe(&self) -> Vec<(String, String)> {
        let length = match self.length {
            Duration::Minimax => {
                "3,000, 2,000, 1,500, 1,000, 500 or 300 epochs for up to 1, 10, 50, 200, 500 and more images per class"
                    .to_owned()
            }
            Duration::Fixed(Length::Epochs(epochs)) => format!("{epochs} epochs, learning rate changed per epoch"),
            Duration::Fixed(Length::SmoothEpochs(epochs)) => format!("{epochs} epochs, learning rate changed per step"),
            Duration::Fixed(Length::ImagesSeen(seen)) => {
                format!("{} seen, learning rate changed per step", count(seen, "image"))
            }
        };
        let beyond = self.many_classes.map_or(String::new(), |many| {
            format!("; for more than 100 classes {}, batch {}", describe_optimiser(many.optimiser), many.batch)
        });
        let optimiser = describe_optimiser(self.optimiser) + &beyond;
        let checks = self.checks.map_or(String::new(), |checks| {
            let from = 100.0 * checks.from;
            format!("; besides, the best of every {} from {from:.0} % on", checks.every.describe())
        });
        let fit = match self.fit {
            Fit::Whole => "whole test images resized",
            Fit::Centre => "test images resized to size div 7 * 8, then the centre",
            Fit::Cover => "the shorter side of test images resized to the size, then the centre",
        };
        [
            ("protocol", self.protocol.clone()),
            ("student", self.student.clone()),
            ("optimiser", optimiser),
            ("schedule", format!("{length}; {}", self.rate.describe())),
            ("batch", self.batch.describe()),
            ("augmentation", self.describe_crops()),
            ("then", self.distort.name().to_owned()),
            ("mixing", self.mix.describe()),
            ("loss", self.labels.describe()),
            ("norms", describe_norms(self.statistics).to_owned()),
            ("measured", format!("{fit}, after the last step{checks}")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

fn describe_norms(statistics: StatisticsUpdate) -> &'static str {
    match statistics {
        StatisticsUpdate::Once => "running statistics, moved once a step",
        StatisticsUpdate::Twice => "running statistics, moved twice a step",
    }
}

fn describe_optimiser(optimiser: OptimiserSpec) -> String {
    match optimiser {
        OptimiserSpec::AdamW { learning_rate, weight_decay } => {
            format!(
                "AdamW, learning rate {learning_rate}, weight decay {weight_decay} on weights of more than one dimension"
            )
        }
        OptimiserSpec::Sgd { learning_rate, momentum, weight_decay } => {
            format!("SGD, learning rate {learning_rate}, momentum {momentum}, weight decay {weight_decay}")
        }
        OptimiserSpec::Muon { learning_rate, momentum, weight_decay } => {
            format!(
                "Muon for the weights between the first and the last layer that learn, momentum {momentum}, in steps as long as AdamW's; AdamW for the rest; learning rate {learning_rate}, weight decay {weight_decay}"
            )
        }
    }
}
