//! The one in-memory picture: 8-bit RGB, row by row.

/// An RGB picture. `data` holds `height` rows of `width` pixels of three bytes (HWC, no padding).
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// `height * width * 3` bytes.
    pub data: Vec<u8>,
}

impl Rgb {
    /// A picture of one colour.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Rgb {
        let pixels = width as usize * height as usize;
        Rgb { width, height, data: colour.iter().copied().cycle().take(pixels * 3).collect() }
    }

    /// The pixel in column `x` and row `y`.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = (y as usize * self.width as usize + x as usize) * 3;
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }

    /// Sets the pixel in column `x` and row `y`.
    pub fn set_pixel(&mut self, x: u32, y: u32, colour: [u8; 3]) {
        let at = (y as usize * self.width as usize + x as usize) * 3;
        self.data[at..at + 3].copy_from_slice(&colour);
    }

    /// Copies `tile` into this picture with its upper left corner at (`left`, `top`). The tile must fit.
    pub fn paste(&mut self, tile: &Rgb, left: u32, top: u32) {
        let row = tile.width as usize * 3;
        for y in 0..tile.height as usize {
            let to = ((top as usize + y) * self.width as usize + left as usize) * 3;
            self.data[to..to + row].copy_from_slice(&tile.data[y * row..(y + 1) * row]);
        }
    }
}

impl std::fmt::Debug for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb({}x{})", self.width, self.height)
    }
}

/// A rectangle inside a picture, in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PixelBox {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}
