//! The list of metrics.

use super::{Basis, Centre, HardEnd, Metric};
use smalti_data::tables::Pass;
use std::borrow::Cow;

const fn train(sql: &'static str) -> Basis {
    Basis::Trace { pass: Pass::Train, sql: Cow::Borrowed(sql) }
}

const fn eval(sql: &'static str) -> Basis {
    Basis::Trace { pass: Pass::Eval, sql: Cow::Borrowed(sql) }
}

const FREE: &str = "nothing: the gradient's own outputs";
const ONE_PASS: &str = "one forward pass over the training set per eval epoch and seed";
const LAST_PASS: &str = "one forward pass over the training set per seed, and the features on disk";

/// All metrics.
pub static METRICS: &[Metric] = &[
    Metric {
        name: Cow::Borrowed("el2n"),
        basis: eval("avg(el2n)"),
        hard: HardEnd::High,
        about: "How far the predicted probabilities are from the label early in training",
        formula: "mean over eval epochs and seeds of ‖p − onehot(y)‖₂, in [0, √2]; --eval-epochs and --proxy-seeds choose them",
        paper: "Paul, Ganguli, Dziugaite: Deep Learning on a Data Diet, NeurIPS 2021 (arXiv 2107.07075)",
        cost: ONE_PASS,
        fails: "late in training, when nearly everything is fitted; its hard end gathers wrong labels",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("el2n-train"),
        basis: train("avg(el2n)"),
        hard: HardEnd::High,
        about: "EL2N as CCS computes it: from the gradient's own outputs, over the whole training",
        formula: "mean over all epochs and seeds of ‖p − onehot(y)‖₂ (CCS sums the first ten epochs of one run: the same order for ten)",
        paper: "Zheng et al.: Coverage-centric Coreset Selection, ICLR 2023 (arXiv 2210.15809)",
        cost: FREE,
        fails: "another quantity than EL2N: augmented views, weights that move within the epoch",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("grand"),
        basis: eval("avg(grad_last)"),
        hard: HardEnd::High,
        about: "The norm of the loss's gradient in the last layer's weights and bias, sample by sample",
        formula: "mean over eval epochs and seeds of ‖p − onehot(y)‖₂ · √(1 + ‖h‖²): exact for the last layer; the paper's is over all \
                  layers. DeepCore divides by the batch size, here nothing does",
        paper: "Paul, Ganguli, Dziugaite: Deep Learning on a Data Diet, NeurIPS 2021 (arXiv 2107.07075); closed form as in DeepCore \
                (arXiv 2204.08499)",
        cost: ONE_PASS,
        fails: "at initialisation, where it follows the norm of the input (arXiv 2303.14753)",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("aum"),
        basis: train("avg(margin_logit)"),
        hard: HardEnd::Low,
        about: "By how much the label's logit beats the best other one, over the whole training",
        formula: "mean over all epochs and seeds of z_y − max over k ≠ y of z_k (the authors' code leaves out the first epoch)",
        paper: "Pleiss et al.: Identifying Mislabeled Data using the Area Under the Margin Ranking, NeurIPS 2020 (arXiv 2001.10528)",
        cost: FREE,
        fails: "logits have no common scale between networks; CCS and its followers call a sum of probability margins AUM",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("aum-prob"),
        basis: train("avg(margin_prob)"),
        hard: HardEnd::Low,
        about: "AUM as CCS and its followers compute it: the margin of probabilities, over the whole training",
        formula: "mean over all epochs and seeds of p_y − max over k ≠ y of p_k, in [−1, 1] (CCS sums: the same order)",
        paper: "Zheng et al.: Coverage-centric Coreset Selection, ICLR 2023 (arXiv 2210.15809)",
        cost: FREE,
        fails: "saturates: once learned, easy samples are hardly told apart",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("forgetting"),
        basis: train(
            "case when bool_or(correct) then sum(case when was_correct and not correct then 1 else 0 end) else count(*) end",
        ),
        hard: HardEnd::High,
        about: "How often a sample that was right is wrong at its next presentation",
        formula: "mean over seeds of the number of t with right(t − 1) and not right(t); never learned counts as the number of epochs, \
                  the original's rule (CCS and DeepCore count 0)",
        paper: "Toneva et al.: An Empirical Study of Example Forgetting, ICLR 2019 (arXiv 1812.05159)",
        cost: FREE,
        fails: "short trainings and easy sets, where most counts are 0 and ties decide",
        epochs: 2,
    },
    Metric {
        name: Cow::Borrowed("loss"),
        basis: eval("avg(loss)"),
        hard: HardEnd::High,
        about: "The cross-entropy of the label; wrong labels keep a large one early in training",
        formula: "mean over eval epochs and seeds of −ln p_y, in nats",
        paper: "Han et al.: Co-teaching, NeurIPS 2018 (arXiv 1804.06872), for small loss as the sign of a clean sample",
        cost: ONE_PASS,
        fails: "unbounded: one confident mistake in one epoch outweighs all other epochs",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("entropy"),
        basis: eval("avg(entropy)"),
        hard: HardEnd::High,
        about: "How undecided the prediction is, whatever the label",
        formula: "mean over eval epochs and seeds of −Σ p ln p, in nats",
        paper: "Coleman et al.: Selection via Proxy, ICLR 2020 (arXiv 1906.11829)",
        cost: ONE_PASS,
        fails: "a confident mistake counts as easy, so wrong labels pass as clean",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("confidence"),
        basis: train("avg(p_true)"),
        hard: HardEnd::Low,
        about: "The mean probability of the label over the whole training: the cartographers' easy-to-learn axis",
        formula: "mean over all epochs and seeds of p_y, in [0, 1]",
        paper: "Swayamdipta et al.: Dataset Cartography, EMNLP 2020 (arXiv 2009.10795)",
        cost: FREE,
        fails: "its low end mixes hard images and wrong labels",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("variability"),
        basis: train("stddev_pop(p_true)"),
        hard: HardEnd::High,
        about: "How much the probability of the label moves over the training: the cartographers' ambiguous axis",
        formula: "mean over seeds of the standard deviation of p_y over all epochs (of the population, as the authors' code)",
        paper: "Swayamdipta et al.: Dataset Cartography, EMNLP 2020 (arXiv 2009.10795)",
        cost: FREE,
        fails: "both the always known and the never learned move little: its low end is two kinds of samples",
        epochs: 2,
    },
    Metric {
        name: Cow::Borrowed("cad"),
        basis: train("windowed_deviation(p_true, epoch, 3, 5)"),
        hard: HardEnd::High,
        about: "How much the probability of the label still moves near the end of a run as long as the student's",
        formula: "mean over seeds and over the last 5 windows of 3 consecutive epochs (all windows where there are fewer) of the population \
                  standard deviation of p_y in the window; matched to compute when the proxies' epochs are images seen / images of the set",
        paper: "CAD-Prune of Hard Truths about Soft Labels (arXiv 2604.18811), its window lengths not published; deviation in windows as in \
                Dyn-Unc (arXiv 2311.05675)",
        cost: "nothing more; at least 3 epochs",
        fails: "runs of few epochs, where the windows hold the start of training",
        epochs: 3,
    },
    Metric {
        name: Cow::Borrowed("prototype"),
        basis: Basis::Features(Centre::Mean),
        hard: HardEnd::High,
        about: "The distance to the mean of the class in the space of penultimate features",
        formula: "mean over seeds of ‖h − mean over the class of h‖₂, eval mode, after the last epoch",
        paper: "Sorscher et al.: Beyond neural scaling laws, NeurIPS 2022 (arXiv 2206.14486), there to k-means prototypes of \
                self-supervised features",
        cost: LAST_PASS,
        fails: "classes of several clusters, whose mean lies where no image is",
        epochs: 1,
    },
    Metric {
        name: Cow::Borrowed("moderate"),
        basis: Basis::Features(Centre::Median),
        hard: HardEnd::High,
        about: "The distance to the median of the class in the space of penultimate features; for the rule `moderate`",
        formula: "mean over seeds of ‖h − median over the class of h, coordinate by coordinate‖₂, eval mode, after the last epoch",
        paper: "Xia et al.: Moderate Coreset, ICLR 2023 (OpenReview 7D5EECbOaf9)",
        cost: LAST_PASS,
        fails: "classes of several clusters; the authors' code leaves the network in train mode, here it is not",
        epochs: 1,
    },
];
