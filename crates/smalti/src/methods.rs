//! Every list of the program in one place: what `smalti methods` prints, `docs/methods.md` shows and a test compares.

use crate::distill::CropSpec;
use crate::distill::list::{DISTILLATIONS, Distillation, Recovery, Way};
use crate::presets::{DEFAULT, PRESETS, Preset};
use crate::students::TrainingRecipe;
use serde::Serialize;
use smalti_data::tables::trace::COLUMNS;
use smalti_learn::augment::AUGMENTS;
use smalti_learn::distort::DISTORTS;
use smalti_learn::mix::MIXES;
use smalti_learn::nets::FAMILIES;
use smalti_learn::protocols::{PROTOCOLS, Protocol};
use smalti_learn::recover::{Curriculum, Generalised, Jitter, RecoverSpec};
use smalti_select::{HardEnd, METRICS, Metric, Needs, RULES, Rule};
use std::fmt::Write;

/// One list.
#[derive(Debug, Serialize)]
pub struct Family {
    /// What the entries are: `Metrics`.
    pub name: &'static str,
    /// How an entry is chosen: `--metric`.
    pub flag: &'static str,
    /// Names of the columns.
    pub columns: Vec<&'static str>,
    /// One row per entry.
    pub rows: Vec<Vec<String>>,
}

/// All lists.
pub fn families() -> Vec<Family> {
    vec![
        presets(),
        metrics(),
        trace_columns(),
        rules(),
        distillations(),
        Family {
            name: "Networks",
            flag: "--student, --proxy",
            columns: vec!["names", "what they are", "paper"],
            rows: FAMILIES.iter().map(|f| text(&[f.grammar, f.about, f.paper])).collect(),
        },
        Family {
            name: "Augmentations",
            flag: "--augment",
            columns: vec!["name", "what a step sees", "paper"],
            rows: AUGMENTS.iter().map(|a| text(&[a.name, a.about, a.paper])).collect(),
        },
        Family {
            name: "Distortions",
            flag: "--distort",
            columns: vec!["name", "what happens to a view then", "paper"],
            rows: DISTORTS.iter().map(|d| text(&[d.name, d.about, d.paper])).collect(),
        },
        Family {
            name: "Mixings",
            flag: "--mix",
            columns: vec!["name", "how the images of a step are mixed", "paper"],
            rows: MIXES.iter().map(|m| text(&[m.name, m.about, m.paper])).collect(),
        },
        protocols(),
    ]
}

fn text(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn presets() -> Family {
    let row = |p: &Preset| {
        let made = format!("{}{}, grid {}", p.rule, p.metric.map_or(String::new(), |m| format!(" by {m}")), p.grid);
        let standing = match p.name {
            DEFAULT => "the default: best on the hold-out of Imagenette over 1, 10 and 50 images per class",
            _ => "-",
        };
        text(&[p.name, p.about, &made, standing, p.paper])
    };
    Family {
        name: "Presets",
        flag: "--preset",
        columns: vec!["name", "what it does", "made of", "standing", "paper"],
        rows: PRESETS.iter().map(row).collect(),
    }
}

fn metrics() -> Family {
    let row = |m: &Metric| {
        let hard = if m.hard == HardEnd::High { "high" } else { "low" };
        text(&[&m.name, m.about, m.formula, hard, m.reads(), m.cost, m.fails, m.paper])
    };
    Family {
        name: "Metrics",
        flag: "--metric",
        columns: vec!["name", "what it measures", "formula", "hard end", "reads", "cost", "fails when", "paper"],
        rows: METRICS.iter().map(row).collect(),
    }
}

fn trace_columns() -> Family {
    let deviation = text(&[
        "windowed_deviation(x, epoch, L, W)",
        "an aggregate: the standard deviation of x in windows of L epochs, averaged over the last W windows",
    ]);
    Family {
        name: "Columns of the trace",
        flag: "--metric 'NAME=SQL', 'NAME@eval=SQL'",
        columns: vec!["name", "what it holds"],
        rows: COLUMNS.iter().map(|(name, about)| text(&[name, about])).chain([deviation]).collect(),
    }
}

fn rules() -> Family {
    let row = |r: &Rule| {
        let (needs, forms) = match r.needs {
            Needs::Scores => ("a metric", "NAME, NAME-global"),
            Needs::Nothing => ("nothing", "NAME, NAME-global"),
            Needs::Features => ("features", "NAME"),
            Needs::ScoresAndFeatures => ("a metric and features", "NAME"),
        };
        let number = r
            .parameter
            .map_or("none".to_owned(), |p| format!("{}, from {} to {}; {}", p.about, p.range.0, p.range.1, p.default));
        let forms = forms.replace("NAME", r.name);
        let forms = if r.parameter.is_some() { forms.replace(',', "[:X],") + "[:X]" } else { forms };
        text(&[r.name, r.about, needs, &forms, &number, r.cost, r.fails, r.paper])
    };
    Family {
        name: "Rules",
        flag: "--rule",
        columns: vec![
            "name",
            "what it keeps",
            "needs",
            "forms",
            "its number X and the default",
            "cost",
            "fails when",
            "paper",
        ],
        rows: RULES.iter().map(row).collect(),
    }
}

fn protocols() -> Family {
    let row = |p: &Protocol| {
        let recipe = TrainingRecipe { protocol: Some(p.name.to_owned()), ..Default::default() };
        let full = recipe.settle().map(|training| {
            let parts = training.describe().into_iter().filter(|(name, _)| name != "protocol" && name != "student");
            parts.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("; ")
        });
        vec![p.name.to_owned(), p.about.to_owned(), full.unwrap_or_default(), p.paper.to_owned()]
    };
    Family {
        name: "Protocols",
        flag: "--protocol",
        columns: vec!["name", "what it is", "in full", "paper"],
        rows: PROTOCOLS.iter().map(row).collect(),
    }
}

fn distillations() -> Family {
    let row = |d: &Distillation| {
        let [large, tiny, small] = match &d.way {
            Way::Recover(Recovery { settings, blocks, .. }) => {
                [0, 1, 2].map(|size| format!("{}, {} images at once", describe_settings(&settings[size]), blocks[size]))
            }
            Way::Crops(settings) => settings.map(describe_crops),
        };
        [d.name, d.about, &small, &tiny, &large, d.paper].map(str::to_owned).to_vec()
    };
    Family {
        name: "Distillation methods",
        flag: "smalti distill NAME",
        columns: vec!["name", "what it does", "up to 32 px", "up to 64 px", "above", "paper"],
        rows: DISTILLATIONS.iter().map(row).collect(),
    }
}

fn describe_crops(CropSpec { grid, pool, crops }: CropSpec) -> String {
    format!("{crops} square crops from 0.08 of the area of {pool} images a class, {grid} x {grid} tiles an image")
}

/// `4,000 steps, rate 0.25, statistics x 0.01`.
fn describe_settings(spec: &RecoverSpec) -> String {
    let crop = match spec.look.crop {
        Curriculum::None => "no crop or flip".to_owned(),
        Curriculum::Fixed { least } => format!("crops from {least} of the area, flips"),
        Curriculum::Padded { by } => format!("moved by up to {by} px each way, flips"),
        Curriculum::Cosine { least, until } => {
            format!("crops from all to {least} of the area over {:.0} % of the steps, flips", 100.0 * until)
        }
    };
    let rolled = match spec.look.jitter {
        Jitter::Forward { most } => format!("rolled by 0 to {most} px"),
        Jitter::Centred { most } => format!("rolled by -{most} to {most} px"),
    };
    let variance = if spec.variance == 1.0 { String::new() } else { format!(", variances x {}", spec.variance) };
    let nudge =
        spec.nudge.map_or(String::new(), |n| format!(", weights moved by {} in {} steps first", n.radius, n.steps));
    let first = if spec.generalised.is_some() { "convolution" } else { "norm" };
    let generalised = spec.generalised.map_or(String::new(), |more| format!(", {}", describe_generalised(&more)));
    format!(
        "{} steps of Adam at {}, statistics x {} (the first {first}'s x {}{variance}), {crop}, {rolled}{nudge}{generalised}",
        spec.iterations, spec.learning_rate, spec.statistics, spec.first_layer
    )
}

fn describe_generalised(of: &Generalised) -> String {
    let skip =
        if of.skip > 0.0 { format!(", a convolution left out with probability {}", of.skip) } else { String::new() };
    format!(
        "averages that keep {} of themselves each step, cells of {} x {}{skip}, density x {} at temperature {}",
        of.memory, of.cell, of.cell, of.density, of.temperature
    )
}

/// Lists as Markdown.
pub fn markdown(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        let _ = writeln!(out, "## {} (`{}`)\n", family.name, family.flag);
        let _ = writeln!(out, "| {} |", family.columns.join(" | "));
        let _ = writeln!(out, "|{}", "---|".repeat(family.columns.len()));
        for row in &family.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_no_cell_is_empty() {
        for family in families() {
            let names: HashSet<&String> = family.rows.iter().map(|row| &row[0]).collect();
            assert_eq!(names.len(), family.rows.len(), "{}", family.name);
            for row in &family.rows {
                assert!(row.len() == family.columns.len() && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
            }
        }
    }

    /// Run with UPDATE_DOCS=1 to write the page anew.
    #[test]
    fn the_page_in_docs_is_this_list() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/methods.md");
        let text = format!(
            "# Methods\n\nWhat `smalti methods` prints: made from the program's own lists, do not edit. A test keeps it true; \
             `UPDATE_DOCS=1 make test` writes it anew.\n\n{}",
            markdown(&families())
        );
        if std::env::var_os("UPDATE_DOCS").is_some() {
            smalti_data::files::write_bytes(&path, text.as_bytes()).expect("the folder can be written");
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(known == text, "docs/methods.md is out of date: run UPDATE_DOCS=1 make test");
    }
}
