//! TensorBoard's event files: training loss and accuracy of each student, for those who keep all their runs there.
//!
//! A file is a list of records: length, masked CRC-32C of the length, data, masked CRC-32C of the data. The data is a protobuf message
//! `Event` (tensorboard/compat/proto/event.proto); only the few fields used here are written.

/// One number at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Name of the series.
    pub tag: String,
    /// Where on the horizontal axis.
    pub step: u64,
    /// The number.
    pub value: f32,
}

/// A whole event file. `wall_time` is in seconds since 1970; 0 keeps the bytes the same in every run.
pub fn events(wall_time: f64, scalars: &[Scalar]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut version = time(wall_time);
    field_bytes(&mut version, 3, b"brain.Event:2");
    record(&mut file, &version);
    for scalar in scalars {
        let mut value = Vec::new();
        field_bytes(&mut value, 1, scalar.tag.as_bytes());
        key(&mut value, 2, 5);
        value.extend(scalar.value.to_le_bytes());
        let mut summary = Vec::new();
        field_bytes(&mut summary, 1, &value);
        let mut event = time(wall_time);
        key(&mut event, 2, 0);
        varint(&mut event, scalar.step);
        field_bytes(&mut event, 5, &summary);
        record(&mut file, &event);
    }
    file
}

fn time(wall_time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, 1);
    event.extend(wall_time.to_le_bytes());
    event
}

fn key(out: &mut Vec<u8>, field: u64, kind: u64) {
    varint(out, field << 3 | kind);
}

fn field_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(out, field, 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn record(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked(data).to_le_bytes());
}

/// As TensorFlow's records mask their checksums.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli), bit by bit: the files are small.
fn crc32c(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in data {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // The check value of CRC-32C, and 32 zero bytes from RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    }

    #[test]
    fn a_record_by_hand() {
        let file = events(0.0, &[Scalar { tag: "loss".into(), step: 300, value: 1.5 }]);
        let first = 8 + 4 + (9 + 2 + 13) + 4;
        assert_eq!(file[..8], 24u64.to_le_bytes());
        assert_eq!(file[12..12 + 24][9..], *b"\x1a\x0dbrain.Event:2");
        let event = &file[first + 12..file.len() - 4];
        // Time 0; step 300 is 0xAC 0x02; summary of one value: tag "loss", simple_value 1.5 = 0x3FC00000.
        let expected = b"\x09\0\0\0\0\0\0\0\0\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f";
        assert_eq!(event, expected);
    }
}
