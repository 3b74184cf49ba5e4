//! A rule as it is asked for: `NAME`, `NAME-global`, `NAME:PARAMETER`.

use super::{Needs, RULES, Rule};
use crate::error::{Error, Result};
use crate::names;

/// Over what the budget is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Each class keeps the same number.
    Class,
    /// All samples are one pool; a class may keep anything from nothing to all.
    Global,
}

/// A rule with its form and its number.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// The rule.
    pub rule: &'static Rule,
    /// Over what the budget is spread.
    pub balance: Balance,
    /// Its number; 0 where it takes none.
    pub parameter: f64,
}

impl PartialEq for Choice {
    fn eq(&self, other: &Choice) -> bool {
        self.name() == other.name()
    }
}

impl Choice {
    /// As it is written: `ccs-global:0.3`.
    pub fn name(&self) -> String {
        let form = if self.balance == Balance::Global { "-global" } else { "" };
        let number = self.rule.parameter.map_or(String::new(), |_| format!(":{}", self.parameter));
        format!("{}{form}{number}", self.rule.name)
    }
}

/// The rule that `spec` means.
///
/// # Errors
/// [`Error::Input`] for an unknown name (the hint offers the near one and lists all), a number where none belongs or beyond its range, and
/// the global form of a rule that compares features.
pub fn rule(spec: &str) -> Result<Choice> {
    let (name, number) = spec.split_once(':').map_or((spec, None), |(name, number)| (name, Some(number)));
    let (name, balance) = name.strip_suffix("-global").map_or((name, Balance::Class), |name| (name, Balance::Global));
    let rule = RULES.iter().find(|r| r.name == name);
    let rule = rule.ok_or_else(|| names::unknown("rule", name, RULES.iter().map(|r| r.name)))?;
    if balance == Balance::Global && !matches!(rule.needs, Needs::Scores | Needs::Nothing) {
        let what = format!("the rule `{name}` has no global form: it compares the features of one class");
        return Err(Error::input(what, format!("use --rule {name}")));
    }
    let parameter = match (rule.parameter, number) {
        (None, None) => 0.0,
        (None, Some(_)) => {
            return Err(Error::input(format!("the rule `{name}` takes no number"), format!("use --rule {name}")));
        }
        (Some(parameter), None) => parameter.default,
        (Some(parameter), Some(text)) => {
            let (low, high) = parameter.range;
            text.parse().ok().filter(|number| (low..=high).contains(number)).ok_or_else(|| {
                let what = format!("`{text}` is no number for the rule `{name}`: {}", parameter.about);
                Error::input(what, format!("give one from {low} to {high}: --rule {name}:{}", parameter.default))
            })?
        }
    };
    Ok(Choice { rule, balance, parameter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_forms_and_numbers() {
        let named = |spec: &str| rule(spec).map(|choice| choice.name()).map_err(|e| e.hint().unwrap_or("").to_owned());
        assert_eq!(named("easy-first"), Ok("easy-first".into()));
        assert_eq!(named("easy-first-global"), Ok("easy-first-global".into()));
        assert_eq!(named("ccs"), Ok("ccs:0.3".into()));
        assert_eq!(named("ccs-global:0.1"), Ok("ccs-global:0.1".into()));
        for (spec, hint) in [
            ("easy", "did you mean `easy-first`?"),
            ("easy-first:1", "use --rule easy-first"),
            ("ccs:2", "from 0 to"),
            ("ccs:NaN", "from 0 to"),
            ("ccs:", "from 0 to"),
            ("herding-global", "use --rule herding"),
        ] {
            assert!(named(spec).expect_err(spec).contains(hint), "{spec}: {:?}", named(spec));
        }
    }
}
