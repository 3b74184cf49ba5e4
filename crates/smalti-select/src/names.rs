//! Names in messages: unknown ones with the near and the known, long lists cut short.

use crate::error::Error;

/// Names shown of a list that may be long.
const SHOWN: usize = 5;

/// How alike two names must be (1 is equal) to be offered for one another.
const NEAR: f64 = 0.5;

/// The error for a `name` that no entry of a list has. `kind` is a singular noun: `metric`.
pub(crate) fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    // The beginning of a name is as near as a slip of the keys.
    let likeness = |k: &str| match name.len() >= 3 && k.starts_with(&name.to_lowercase()) {
        true => 1.0 - 0.1 * (k.len() - name.len()) as f64 / k.len() as f64,
        false => strsim::normalized_damerau_levenshtein(&name.to_lowercase(), k),
    };
    let near = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|k| likeness(k) >= NEAR);
    let meant = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    let all: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
    Error::input(format!("there is no {kind} `{name}`"), format!("{meant}each {kind} there is: {}", all.join(", ")))
}

/// `a, b, c, d, e and 4 more`.
pub(crate) fn first_few<T: std::fmt::Display>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().take(SHOWN).map(T::to_string).collect();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_near_and_the_known() {
        let known = || ["el2n", "forgetting"].into_iter();
        let error = unknown("metric", "EL2M", known());
        assert_eq!(error.to_string(), "there is no metric `EL2M`");
        assert_eq!(error.hint(), Some("did you mean `el2n`? each metric there is: `el2n`, `forgetting`"));
        let error = unknown("metric", "zzz", known());
        assert_eq!(error.hint(), Some("each metric there is: `el2n`, `forgetting`"));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(first_few(&[1, 2]), "1, 2");
        assert_eq!(first_few(&[1, 2, 3, 4, 5]), "1, 2, 3, 4, 5");
        assert_eq!(first_few(&[1, 2, 3, 4, 5, 6, 7]), "1, 2, 3, 4, 5 and 2 more");
    }
}
