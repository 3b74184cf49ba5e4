//! Recipes: the settings of `compress` as TOML. What a person gives is partial; what a run saves is complete.

use crate::error::{failure, near, of_call, unknown, usage};
use crate::presets::{DEFAULT, preset};
use crate::proxies::{ProxyRecipe, ProxySettings};
use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smalti_data::decode::{Detail, Orientation, Profile};
use smalti_data::mosaic::Layout;
use smalti_data::write::OutputFormat;
use smalti_select::{Choice, HardEnd, Needs, OnSmallClass};
use std::path::Path;

/// Settings of `compress` as far as they were given: by flags, or by a recipe file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Name of the set, for its card.
    pub name: Option<String>,
    /// Written images per class.
    pub ipc: Option<u32>,
    /// A row of [`PRESETS`]: where grid, metric and rule come from when they are not given.
    pub preset: Option<String>,
    /// Tiles per side of a stored image.
    pub grid: Option<u32>,
    /// Metric of the scores.
    pub metric: Option<String>,
    /// Rule that chooses.
    pub rule: Option<String>,
    /// Side of the stored images in pixels.
    pub size: Option<u32>,
    /// Part of the training images kept out for measuring choices, from 0 to below 1.
    pub holdout: Option<f64>,
    /// Key of every random choice.
    pub seed: Option<u64>,
    /// What is written.
    pub format: Option<OutputFormat>,
    /// Whether images are turned by their EXIF tag.
    pub orientation: Option<Orientation>,
    /// Whether large JPEGs are decoded small.
    pub decode: Option<Detail>,
    /// Which end of the metric is hard, where it is none of ours.
    pub hard_end: Option<HardEnd>,
    /// What to do about a class with too few images.
    pub on_small_class: Option<OnSmallClass>,
    /// Licence of the source images as the Hugging Face Hub spells it.
    pub licence: Option<String>,
    /// The scoring networks.
    #[serde(default)]
    pub proxy: ProxyRecipe,
}

/// Complete settings of `compress`; what a set carries as `recipe.toml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields of Recipe, made complete")]
pub struct Settings {
    pub name: String,
    pub ipc: u32,
    /// None where nobody named one, and a rule, a metric or a selection was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    pub grid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_end: Option<HardEnd>,
    /// None where nobody named one or a preset, and a selection was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    pub size: u32,
    pub holdout: f64,
    pub seed: u64,
    pub format: OutputFormat,
    pub orientation: Orientation,
    pub decode: Detail,
    pub on_small_class: OnSmallClass,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxySettings>,
    /// Flags that decide beside these settings.
    #[serde(skip)]
    pub beside: Vec<Beside>,
}

/// A flag that decides what a set holds and is no setting, since it is about the source or about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its name.
    pub flag: &'static str,
    /// What it was given.
    pub value: Said,
}

/// What such a flag is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A name.
    Name(String),
    /// A file: BLAKE3 of its contents, in hexadecimal.
    File(String),
}

/// Largest side of stored images unless told otherwise: the benchmark's.
const LARGEST_DEFAULT_SIZE: u32 = 224;

impl Recipe {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or has an unknown key (the near ones are listed).
    pub fn read(path: &Path) -> Result<Recipe> {
        let text = String::from_utf8(smalti_data::files::read(path)?)
            .map_err(|_| failure(format!("the recipe `{}` is not UTF-8 text", path.display()), "save it as UTF-8"))?;
        parse(&text).with_context(|| format!("in the recipe `{}`", path.display()))
    }

    /// These settings, and those of `below` where none is given here. A preset brings its own grid, metric and rule: those of `below` do not hold under it.
    pub fn over(self, below: Recipe) -> Recipe {
        let below = match self.preset {
            Some(_) => Recipe { grid: None, metric: None, hard_end: None, rule: None, ..below },
            None => below,
        };
        Recipe {
            name: self.name.or(below.name),
            ipc: self.ipc.or(below.ipc),
            preset: self.preset.or(below.preset),
            grid: self.grid.or(below.grid),
            metric: self.metric.or(below.metric),
            hard_end: self.hard_end.or(below.hard_end),
            rule: self.rule.or(below.rule),
            size: self.size.or(below.size),
            holdout: self.holdout.or(below.holdout),
            seed: self.seed.or(below.seed),
            format: self.format.or(below.format),
            orientation: self.orientation.or(below.orientation),
            decode: self.decode.or(below.decode),
            on_small_class: self.on_small_class.or(below.on_small_class),
            licence: self.licence.or(below.licence),
            proxy: self.proxy.over(below.proxy),
        }
    }

    /// How encoded images become pixels.
    pub fn profile(&self) -> Profile {
        Profile { orientation: self.orientation.unwrap_or_default(), detail: self.decode.unwrap_or_default() }
    }

    /// Checks all that can be checked before the images are seen.
    ///
    /// # Errors
    /// As [`Recipe::settle`].
    pub fn check(&self) -> Result<()> {
        self.settle("", LARGEST_DEFAULT_SIZE).map(|_| ())
    }

    /// Completes the settings with what depends on the images: `typical_side` is the side in
    /// pixels of a typical source image, `name` a name for the set if it has none.
    ///
    /// # Errors
    /// For names that are in no list and numbers out of range, with the flag that mends it.
    pub fn settle(&self, name: &str, typical_side: u32) -> Result<Settings> {
        let preset = preset(self.preset.as_deref().unwrap_or(DEFAULT))?;
        let rule = smalti_select::rule(self.rule.as_deref().unwrap_or(preset.rule)).map_err(of_call)?;
        let needs = rule.rule.needs;
        let metric = self.metric.as_deref().or(preset.metric);
        if needs.scores() && metric.is_none() {
            return Err(usage(
                format!("the rule `{}` needs a metric", rule.rule.name),
                "add --metric el2n; `smalti methods` lists them",
            ));
        }
        let ignored = [("metric", self.metric.is_some()), ("hard-end", self.hard_end.is_some())];
        if let (false, Some((key, _))) = (needs.scores(), ignored.iter().find(|(_, given)| *given)) {
            return Err(usage(
                format!("`{key}` means nothing to the rule `{}`, which reads no scores", rule.name()),
                format!("leave {key} out, or choose a rule that reads scores, such as `easy-first`"),
            ));
        }
        let Some(ipc) = self.ipc.filter(|&ipc| ipc > 0) else {
            return Err(usage("how many images per class?", "add --ipc 10, or `ipc = 10` to the recipe"));
        };
        let size = self.size.unwrap_or_else(|| typical_side.clamp(1, LARGEST_DEFAULT_SIZE));
        let layout = Layout::new(self.grid.unwrap_or(preset.grid), size).map_err(of_call)?;
        let holdout = self.holdout.unwrap_or(0.0);
        if !(0.0..1.0).contains(&holdout) {
            return Err(usage(
                format!("a hold-out of {holdout} is no part of the images"),
                "give --holdout 0.1, or another number from 0 to below 1",
            ));
        }
        let metric = metric.filter(|_| needs.scores());
        let hard_end = self.hard_end.filter(|_| needs.scores());
        // The default is not meant by somebody who names a rule or a metric.
        let is_meant = self.preset.is_some() || self.rule.is_none() && self.metric.is_none();
        Ok(Settings {
            name: self.name.clone().unwrap_or_else(|| name.to_owned()),
            ipc,
            preset: is_meant.then(|| preset.name.to_owned()),
            grid: layout.grid,
            metric: metric.map(str::to_owned),
            hard_end,
            rule: Some(rule.name()),
            size,
            holdout,
            seed: self.seed.unwrap_or(0),
            format: self.format.unwrap_or(OutputFormat::Folder),
            orientation: self.profile().orientation,
            decode: self.profile().detail,
            on_small_class: self.on_small_class.unwrap_or(OnSmallClass::Refuse),
            licence: self.licence.clone(),
            proxy: if needs != Needs::Nothing { Some(self.proxy.settle(size)?) } else { None },
            beside: Vec::new(),
        })
    }
}

impl Settings {
    /// Tiles and size of the stored images.
    pub fn layout(&self) -> Layout {
        Layout { grid: self.grid, size: self.size }
    }

    /// The rule that chooses, or that a given selection is held to: class by class where nobody named one.
    ///
    /// # Errors
    /// For a name that is in no list.
    pub fn choice(&self) -> Result<Choice> {
        Ok(smalti_select::rule(self.rule.as_deref().unwrap_or("random"))?)
    }

    /// The text of `recipe.toml`.
    pub fn to_toml(&self) -> String {
        let mut head =
            "# Every setting of `smalti compress`. The same source with `--recipe` and this file gives the same set.\n"
                .to_owned();
        for Beside { flag, value } in &self.beside {
            head.push_str(&match value {
                Said::Name(name) => format!("# It takes --{flag} too: {name:?}\n"),
                Said::File(hash) => format!("# It takes --{flag} too: the file whose BLAKE3 is {hash}.\n"),
            });
        }
        head + "\n" + &toml::to_string(self).expect("settings are tables of numbers and strings")
    }
}

/// Parses TOML strictly: an unknown key is an error that lists the near ones.
///
/// # Errors
/// Syntax errors with their line, and unknown keys.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let mut names = message.split('`').skip(1).step_by(2);
        match names.next() {
            Some(key) if message.starts_with("unknown field") => {
                let known: Vec<&str> = names.collect();
                let near = near(key, &known);
                let list = format!("known keys here: {}", known.join(", "));
                let hint =
                    if near.is_empty() { list } else { format!("did you mean `{}`? {list}", near.join("` or `")) };
                usage(format!("unknown key `{key}` in line {line}"), hint)
            }
            Some(name) if message.starts_with("unknown variant") => {
                unknown(&format!("value in line {line}"), name, names)
            }
            _ => usage(
                format!("line {line}: {message}"),
                "an example is in `smalti compress --help`, and one for `bench` in README.md",
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hint_of;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_preset() {
        let file: Recipe = parse("ipc = 5\npreset = \"pca\"\nseed = 3\n[proxy]\nepochs = 4\n").expect("a recipe");
        let flags = Recipe { ipc: Some(7), grid: Some(3), ..Recipe::default() };
        let settings = flags.over(file).settle("set", 96).expect("settled");
        assert_eq!((settings.ipc, settings.grid, settings.seed, settings.size), (7, 3, 3, 96));
        assert_eq!((settings.rule.as_deref(), settings.metric.as_deref()), (Some("easy-first"), Some("el2n")));
        let proxy = settings.proxy.expect("easy-first needs scores");
        assert_eq!(
            (proxy.epochs, proxy.eval_epochs, proxy.size, proxy.network.as_str()),
            (4, vec![3], 32, "convnet-3/64-bn")
        );
    }

    #[test]
    fn a_preset_replaces_the_method_of_the_file_below_it() {
        let saved = Recipe { ipc: Some(2), preset: Some("pca".into()), seed: Some(4), ..Recipe::default() };
        let saved: Recipe = parse(&saved.settle("set", 64).expect("settled").to_toml()).expect("it parses");
        let random = Recipe { preset: Some("random".into()), ..Recipe::default() };
        let settings = random.over(saved).settle("set", 64).expect("settled");
        assert_eq!((settings.rule.as_deref(), settings.grid, settings.metric), (Some("random"), 1, None));
        assert_eq!((settings.ipc, settings.seed), (2, 4), "the rest is the file's");
    }

    #[test]
    fn a_metric_that_a_rule_does_not_read_is_refused() {
        for ignored in [
            Recipe { metric: Some("el2n".into()), ..Recipe::default() },
            Recipe { hard_end: Some(HardEnd::High), ..Recipe::default() },
        ] {
            let error = Recipe { ipc: Some(2), preset: Some("random".into()), ..ignored }
                .settle("set", 64)
                .expect_err("refused");
            assert!(error.to_string().contains("means nothing to the rule `random`"), "{error}");
        }
    }

    #[test]
    fn the_saved_recipe_settles_to_itself() {
        for name in crate::presets::PRESETS.iter().map(|p| p.name) {
            let recipe =
                Recipe { ipc: Some(2), preset: Some(name.into()), licence: Some("mit".into()), ..Recipe::default() };
            let settings = recipe.settle("set", 500).expect("settled");
            assert_eq!(settings.size, 224, "the default is not above the benchmark's size");
            let again: Recipe = parse(&settings.to_toml()).expect("it parses");
            assert_eq!(again.settle("other", 1).expect("settled"), settings);
        }
    }

    #[test]
    fn an_unknown_key_lists_the_near_ones() {
        let error = parse::<Recipe>("ipc = 5\nmetrik = \"el2n\"\n").expect_err("refused");
        assert_eq!(error.to_string(), "unknown key `metrik` in line 2");
        assert!(hint_of(&error).expect("a hint").starts_with("did you mean `metric`?"));
        let error = parse::<Recipe>("ipc = 5\nformat = \"fodler\"\n").expect_err("refused");
        assert!(hint_of(&error).expect("a hint").starts_with("did you mean `folder`?"), "{error}");
    }

    #[test]
    fn impossible_settings_are_refused_before_any_work() {
        let base = || Recipe { ipc: Some(1), ..Recipe::default() };
        let proxy = |proxy| Recipe { proxy, ..base() };
        for recipe in [
            Recipe::default(),
            Recipe { ipc: Some(0), ..base() },
            Recipe { preset: Some("nope".into()), ..base() },
            Recipe { rule: Some("nope".into()), ..base() },
            Recipe { grid: Some(0), ..base() },
            Recipe { size: Some(1 << 20), ..base() },
            Recipe { holdout: Some(1.0), ..base() },
            Recipe { holdout: Some(f64::NAN), ..base() },
            proxy(ProxyRecipe { epochs: Some(0), ..ProxyRecipe::default() }),
            proxy(ProxyRecipe { seeds: Some(101), ..ProxyRecipe::default() }),
            proxy(ProxyRecipe { eval_epochs: Some(vec![10]), ..ProxyRecipe::default() }),
            proxy(ProxyRecipe { crop_min: Some(0.0), ..ProxyRecipe::default() }),
        ] {
            let error = recipe.settle("set", 32).expect_err("refused");
            assert!(hint_of(&error).is_some(), "{error}");
        }
    }
}
