//! Errors at the edge: `anyhow` carries them, this module finds the hint and the exit status in the chain.

use std::fmt;

/// A failure of the program itself with its way out; the libraries have their own.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hint: String,
    usage: Usage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    Wrong,
    Fine,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// An error about the input or the run: exit status 1. `what` names the thing and the place, `hint` the next step.
pub fn failure(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Failure { what: what.into(), hint: hint.into(), usage: Usage::Fine }.into()
}

/// An error about how the program was called: exit status 2.
pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Failure { what: what.into(), hint: hint.into(), usage: Usage::Wrong }.into()
}

/// A library's error about what the call named: a name in none of its lists, a number out of range.
pub fn of_call(error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = error.into();
    match hint_of(&error) {
        Some(hint) => usage(error.to_string(), hint),
        None => error,
    }
}

/// The error for a name that is in none of our lists: the near ones first, then all.
pub fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> anyhow::Error {
    let known: Vec<&str> = known.into_iter().collect();
    let near = near(name, &known);
    let list = format!("known: {}", known.join(", "));
    let hint = if near.is_empty() { list } else { format!("did you mean `{}`? {list}", near.join("` or `")) };
    usage(format!("there is no {kind} `{name}`"), hint)
}

/// The known names that look like `name`, nearest first, at most three.
pub fn near<'a>(name: &str, known: &[&'a str]) -> Vec<&'a str> {
    // Two letters exchanged count once, so that `pac` is near `pca`; up to a third of a name may be wrong.
    let mut scored: Vec<(usize, &str)> = known.iter().map(|k| (strsim::damerau_levenshtein(name, k), *k)).collect();
    scored.retain(|(edits, known)| 3 * edits <= known.chars().count().max(3));
    scored.sort_by_key(|(edits, _)| *edits);
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// The next step for the person who reads the error: the first hint in the chain.
pub fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return Some(failure.hint.clone());
        }
        let data = cause.downcast_ref::<smalti_data::Error>().and_then(smalti_data::Error::hint);
        let select = cause.downcast_ref::<smalti_select::Error>().and_then(smalti_select::Error::hint);
        let learn = cause.downcast_ref::<smalti_learn::Error>().and_then(smalti_learn::Error::hint);
        data.or(select).or(learn).map(str::to_owned)
    })
}

/// 1 when the input or the run is at fault, 2 when the call was.
pub fn exit_status(error: &anyhow::Error) -> u8 {
    let wrong_call = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<Failure>().is_some_and(|f| f.usage == Usage::Wrong)
    };
    if error.chain().any(wrong_call) { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_near_ones_first() {
        let error = unknown("preset", "pac", ["random", "pca", "el2n-easy"]);
        assert_eq!(error.to_string(), "there is no preset `pac`");
        assert_eq!(hint_of(&error).as_deref(), Some("did you mean `pca`? known: random, pca, el2n-easy"));
        assert_eq!(exit_status(&error), 2);
    }

    #[test]
    fn a_name_that_a_library_does_not_know_is_a_wrong_call() {
        let error = of_call(smalti_select::rule("nope").expect_err("no rule"));
        assert_eq!(exit_status(&error), 2);
        assert!(error.to_string().contains("`nope`") && hint_of(&error).expect("a hint").contains("easy-first"));
    }

    #[test]
    fn hints_of_the_libraries_survive_context() {
        use anyhow::Context;
        let inner: anyhow::Result<()> = Err(smalti_data::Error::input("a thing", "a way out").into());
        let error = inner.context("while testing").expect_err("an error");
        assert_eq!(hint_of(&error).as_deref(), Some("a way out"));
        assert_eq!(exit_status(&error), 1);
    }
}
