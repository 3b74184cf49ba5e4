//! Candidates: the usable training images, and the one order in which ties break.

use crate::error::{Error, Result};
use crate::names::first_few;
use std::borrow::Cow;

/// A usable training image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Row of the source.
    pub sample: u32,
    /// Class index.
    pub class_id: u32,
    /// Hash of the image's bytes.
    pub content_hash: u128,
    /// Path inside the source, mostly borrowed from the table of samples.
    pub path: Cow<'a, str>,
}

/// Positions in `candidates` by class, each class in the order in which ties break: (content hash, path, sample). Everything
/// later works on these lists, so the order of the candidates changes nothing.
///
/// # Errors
/// [`Error::Input`] for a class index beyond `classes`, or a sample that stands twice.
pub(crate) fn by_class(candidates: &[Candidate], classes: &[String]) -> Result<Vec<Vec<u32>>> {
    let mut groups = vec![Vec::new(); classes.len()];
    for (i, candidate) in candidates.iter().enumerate() {
        let Some(group) = groups.get_mut(candidate.class_id as usize) else {
            return Err(Error::input(
                format!(
                    "`{}` has the label {}, but there are {} classes",
                    candidate.path,
                    candidate.class_id,
                    classes.len()
                ),
                "labels count from 0; give every label a class name",
            ));
        };
        group.push(i as u32);
    }
    for group in &mut groups {
        group.sort_unstable_by(|&a, &b| tie_order(&candidates[a as usize], &candidates[b as usize]));
    }
    let mut samples: Vec<u32> = candidates.iter().map(|c| c.sample).collect();
    samples.sort_unstable();
    let twice: Vec<u32> = samples.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    if !twice.is_empty() {
        return Err(Error::input(
            format!("these samples stand twice among the candidates: {}", first_few(&twice)),
            "give each image of the source its own row number",
        ));
    }
    Ok(groups)
}

fn tie_order(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    (a.content_hash, &a.path, a.sample).cmp(&(b.content_hash, &b.path, b.sample))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{candidate, classes};

    #[test]
    fn ties_break_by_hash_then_path_then_sample() {
        let one = |sample, content_hash, path: &'static str| Candidate {
            sample,
            class_id: 0,
            content_hash,
            path: path.into(),
        };
        let candidates = [one(4, 9, "a"), one(3, 1, "b"), one(2, 1, "a"), one(1, 1, "a")];
        assert_eq!(by_class(&candidates, &classes(1)).expect("fine"), [[3, 2, 1, 0]]);
    }

    #[test]
    fn strange_labels_and_repeated_samples_are_refused() {
        let error = by_class(&[candidate(0, 2)], &classes(2)).expect_err("two classes only");
        assert!(error.to_string().contains("label 2, but there are 2 classes"), "{error}");
        let error = by_class(&[candidate(7, 0), candidate(7, 1)], &classes(2)).expect_err("twice");
        assert!(error.to_string().contains("twice among the candidates: 7"), "{error}");
    }
}
