//! Names one after the other in one piece of memory: a large source has millions.

/// Names of one block, whose ends are counted from its start: four bytes a name, whatever all names take together.
const BLOCK: usize = 1 << 12;

/// A list of names that only grows.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    starts: Vec<usize>,
}

impl Names {
    /// Appends a name; none is longer than a path can be, so a block fits into 32 bits.
    pub fn push(&mut self, name: &[u8]) {
        if self.ends.len().is_multiple_of(BLOCK) {
            self.starts.push(self.bytes.len());
        }
        self.bytes.extend_from_slice(name);
        let start = self.starts.last().copied().unwrap_or_default();
        self.ends.push(u32::try_from(self.bytes.len() - start).expect("a block of names is under 4 GiB"));
    }

    pub fn get(&self, at: usize) -> &[u8] {
        let start = self.starts[at / BLOCK];
        let from = if at.is_multiple_of(BLOCK) { 0 } else { self.ends[at - 1] };
        &self.bytes[start + from as usize..start + self.ends[at] as usize]
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_across_blocks() {
        let mut names = Names::default();
        let name = |at: usize| "x".repeat(at % 7) + &at.to_string();
        (0..2 * BLOCK + 3).for_each(|at| names.push(name(at).as_bytes()));
        assert_eq!(names.len(), 2 * BLOCK + 3);
        assert!((0..names.len()).all(|at| names.get(at) == name(at).as_bytes()));
    }
}
