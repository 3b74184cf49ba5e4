//! The name of an image by its content.

use std::fmt;

/// The first 128 bits of BLAKE3 over the encoded bytes of an image. Written as 32 hexadecimal digits; ordered as those. Bytes and not one
/// number, whose alignment would cost every row of a table of samples eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ContentHash([u8; 16]);

impl ContentHash {
    /// The name of these bytes.
    pub fn of(encoded: &[u8]) -> ContentHash {
        let hash = blake3::hash(encoded);
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_bytes()[..16]);
        ContentHash(first)
    }

    /// The name written as 32 hexadecimal digits.
    pub fn parse(digits: &str) -> Option<ContentHash> {
        let is_name = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let value = is_name.then(|| u128::from_str_radix(digits, 16).ok()).flatten()?;
        Some(value.into())
    }

    /// Its bytes, the first of BLAKE3 first.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Its first 64 bits.
    pub fn leading(self) -> u64 {
        (u128::from_be_bytes(self.0) >> 64) as u64
    }
}

impl From<u128> for ContentHash {
    /// The name whose 32 digits are this number's.
    fn from(number: u128) -> ContentHash {
        ContentHash(number.to_be_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_start_of_blake3_in_hexadecimal_and_reads_back() {
        // The hash of nothing, from the BLAKE3 paper's test vectors.
        let name = ContentHash::of(b"");
        assert_eq!(name.to_string(), "af1349b9f5f9a1a6a0404dea36dcc949");
        assert_eq!((ContentHash::parse(&name.to_string()), name.leading()), (Some(name), 0xaf13_49b9_f5f9_a1a6));
        for wrong in ["af13", "+f1349b9f5f9a1a6a0404dea36dcc949", ""] {
            assert_eq!(ContentHash::parse(wrong), None, "{wrong}");
        }
        assert!(ContentHash::from(1 << 100) > ContentHash::from(u128::from(u64::MAX)), "ordered as the number");
    }
}
