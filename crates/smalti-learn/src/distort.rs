//! What some protocols do to a view after crop and flip: colours, noise, holes, small turns.
//!
//! All of it is arithmetic on the normalised batch, never clamped, as in the code that published it.

use crate::batch::{Item, Normalise};
use smalti_data::random::{Stage, Stream};
use tch::{Device, Kind, Tensor};

/// What happens to the views of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distort {
    /// Nothing.
    #[default]
    None,
    /// Brightness, contrast and saturation by up to 0.4 in a random order, then noise along the principal colours.
    Jitter,
    /// One of six groups per step, with numbers of its own for each image.
    Dsa,
    /// A square of half the side at a random place becomes the mean colour.
    Cutout,
    /// Moved by up to an eighth of the side on black ground, and flipped.
    Padded,
    /// Moved by up to a sixteenth of the side, mirrored at the border, and flipped in every second epoch.
    Alternating,
    /// The same, flipped at random.
    Mirrored,
}

/// One row of the list.
pub struct DistortInfo {
    /// The variant.
    pub distort: Distort,
    /// Its name on the command line.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
}

/// All distortions.
pub const DISTORTS: &[DistortInfo] = &[
    DistortInfo { distort: Distort::None, name: "none", about: "nothing after crop and flip", paper: "-" },
    DistortInfo {
        distort: Distort::Jitter,
        name: "jitter",
        about: "brightness, contrast and saturation by up to 0.4, in a random order for each image; noise along the principal colours, sd 0.1",
        paper: "arXiv 1404.5997 and the evaluation code of arXiv 2205.14959",
    },
    DistortInfo {
        distort: Distort::Dsa,
        name: "dsa",
        about: "one of colour, shift, cutout, flip, scale, turn per step, with numbers of its own for each image; what is shifted in is the mean colour",
        paper: "arXiv 2102.08259",
    },
    DistortInfo {
        distort: Distort::Cutout,
        name: "cutout",
        about: "a square of half the side becomes the mean colour, at any place, also partly outside",
        paper: "arXiv 1708.04552",
    },
    DistortInfo {
        distort: Distort::Padded,
        name: "padded",
        about: "moved by up to an eighth of the side each way on black ground, and flipped: the padded crop of CIFAR recipes, with `--augment none`",
        paper: "arXiv 1512.03385; torchvision's RandomCrop(32, padding=4) and RandomHorizontalFlip",
    },
    DistortInfo {
        distort: Distort::Alternating,
        name: "alternating",
        about: "moved by up to a sixteenth of the side each way, mirrored at the border, and flipped in every second epoch, so that two epochs show both sides of each \
                image, with `--augment none`",
        paper: "arXiv 2404.00498",
    },
    DistortInfo {
        distort: Distort::Mirrored,
        name: "mirrored",
        about: "`alternating`, but flipped at random in every epoch: what turning by turns is worth",
        paper: "arXiv 2404.00498, its baseline",
    },
];

impl Distort {
    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        DISTORTS.iter().find(|row| row.distort == self).map_or("", |row| row.name)
    }

    /// The variant with this name.
    pub fn parse(name: &str) -> Option<Distort> {
        DISTORTS.iter().find(|row| row.name == name).map(|row| row.distort)
    }

    /// The distorted batch [B, 3, S, S], of its own kind. Draws are keyed by (seed, epoch, image), and what a step draws once by (seed, step).
    pub fn apply(self, batch: &Tensor, items: &[Item], normalise: &Normalise, seed: u64, step: u64) -> Tensor {
        let side = batch.size()[3];
        let draws = Draws { items, seed, device: batch.device() };
        let plain = || batch.to_kind(Kind::Float);
        let distorted = match self {
            Distort::None => return batch.shallow_clone(),
            Distort::Cutout => hole(&plain(), &draws.each(|stream| centre(side, stream))),
            Distort::Padded => padded(&plain(), &draws, normalise),
            Distort::Alternating => mirrored(&plain(), &draws, |item| draws.turned(item)),
            Distort::Mirrored => mirrored(&plain(), &draws, |item| draws.flipped(item)),
            Distort::Jitter => jitter(&plain(), &draws, normalise),
            Distort::Dsa => match Stream::new(seed, Stage::Distort, u32::MAX, step).below(6) {
                0 => colour(&plain(), &draws.each(|stream| [stream.uniform(), stream.uniform(), stream.uniform()])),
                1 => shift(&plain(), &draws.each(|stream| offsets(side, 0.125, stream))),
                2 => hole(&plain(), &draws.each(|stream| centre(side, stream))),
                3 => flip(&plain(), &draws.each(|stream| [f64::from(u8::from(stream.uniform() < 0.5))])),
                4 => affine(&plain(), &draws.each(|stream| scaling(stream.uniform(), stream.uniform()))),
                _ => affine(&plain(), &draws.each(|stream| turning(stream.uniform()))),
            },
        };
        crate::nets::channels_last(&distorted).to_kind(batch.kind())
    }
}

/// In place of an epoch, for draws that hold in all of them; one below that of draws by step.
const EVERY_EPOCH: u32 = u32::MAX - 1;

/// Numbers for each image of a step.
struct Draws<'a> {
    items: &'a [Item],
    seed: u64,
    device: Device,
}

impl Draws<'_> {
    /// N numbers per image as N tensors [B, 1, 1, 1].
    fn each<const N: usize>(&self, of: impl Fn(&mut Stream) -> [f64; N]) -> [Tensor; N] {
        let rows: Vec<[f64; N]> = self
            .items
            .iter()
            .map(|item| of(&mut Stream::new(self.seed, Stage::Distort, item.epoch, u64::from(item.index))))
            .collect();
        std::array::from_fn(|at| self.column(rows.iter().map(|row| row[at])))
    }

    /// A number per image as a tensor [B, 1, 1, 1].
    fn column(&self, numbers: impl Iterator<Item = f64>) -> Tensor {
        let numbers: Vec<f32> = numbers.map(|number| number as f32).collect();
        Tensor::from_slice(&numbers).reshape([-1, 1, 1, 1]).to_device(self.device)
    }

    /// 1 in every second epoch; the first draw of an image says in which.
    fn turned(&self, item: &Item) -> u32 {
        let first = Stream::new(self.seed, Stage::Distort, EVERY_EPOCH, u64::from(item.index)).below(2);
        (first + item.epoch) % 2
    }

    /// 0 or 1 for each image and epoch. A sample of the stream that [`Draws::each`] does not read.
    fn flipped(&self, item: &Item) -> u32 {
        Stream::new(self.seed, Stage::Distort, item.epoch, u64::from(item.index) | 1 << 32).below(2)
    }
}

/// Brightness, saturation, contrast, in this order, from three numbers in 0..1.
fn colour(x: &Tensor, [brightness, saturation, contrast]: &[Tensor; 3]) -> Tensor {
    let x = x + (brightness - 0.5);
    let grey = x.mean_dim([1i64].as_slice(), true, Kind::Float);
    let x = (x - &grey) * (saturation * 2.0) + grey;
    let mean = x.mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float);
    (x - &mean) * (contrast + 0.5) + mean
}

/// Rows and columns by which an image is moved: up to a `part` of the side.
fn offsets(side: i64, part: f64, stream: &mut Stream) -> [f64; 2] {
    let most = (side as f64 * part + 0.5) as u32;
    let mut offset = || f64::from(stream.below(2 * most + 1)) - f64::from(most);
    [offset(), offset()]
}

/// Where each of `x.size()[3]` places comes from when images are moved by `offset` [B, 1, 1, 1]: [B, S], partly outside.
fn origins(x: &Tensor, offset: &Tensor) -> Tensor {
    let side = x.size()[3];
    Tensor::arange(side, (Kind::Float, x.device())).reshape([1, side]) + offset.reshape([-1, 1])
}

/// Rows and columns [B, S] of each image [B, 3, S, S], by their places.
fn picked(x: &Tensor, rows: &Tensor, columns: &Tensor) -> Tensor {
    let size = x.size();
    let (images, side) = (size[0], size[3]);
    let rows = rows.to_kind(Kind::Int64).reshape([images, 1, side, 1]);
    let columns = columns.to_kind(Kind::Int64).reshape([images, 1, 1, side]);
    let moved = x.gather(2, &rows.expand([images, 3, side, side], false), false);
    moved.gather(3, &columns.expand([images, 3, side, side], false), false)
}

/// Moved by whole pixels; zeros come in.
fn shift(x: &Tensor, [rows, columns]: &[Tensor; 2]) -> Tensor {
    let last = (x.size()[3] - 1) as f64;
    let (rows, columns) = (origins(x, rows), origins(x, columns));
    let inside = |from: &Tensor| from.ge(0.0).logical_and(&from.le(last));
    let both = inside(&rows).unsqueeze(2).logical_and(&inside(&columns).unsqueeze(1)); // [B, S, S]
    picked(x, &rows.clamp(0.0, last), &columns.clamp(0.0, last)) * both.unsqueeze(1).to_kind(Kind::Float)
}

/// Moved by whole pixels; what comes in is the image mirrored at its border pixel, as torch's `reflect` padding.
fn shift_mirrored(x: &Tensor, [rows, columns]: &[Tensor; 2]) -> Tensor {
    let last = (x.size()[3] - 1) as f64;
    let mirrored = |offset: &Tensor| last - (origins(x, offset).abs() - last).abs();
    picked(x, &mirrored(rows), &mirrored(columns))
}

fn mirrored(x: &Tensor, draws: &Draws, flipped: impl Fn(&Item) -> u32) -> Tensor {
    let side = x.size()[3];
    let moved = shift_mirrored(x, &draws.each(|stream| offsets(side, 0.0625, stream)));
    flip(&moved, &[draws.column(draws.items.iter().map(|item| f64::from(flipped(item))))])
}

/// Zeros come in where black is 0.
fn padded(x: &Tensor, draws: &Draws, normalise: &Normalise) -> Tensor {
    let side = x.size()[3];
    let [rows, columns, flipped] = draws.each(|stream| {
        let [row, column] = offsets(side, 0.125, stream);
        [row, column, f64::from(stream.below(2))]
    });
    let (mean, std) = normalise.tensors(x.device());
    let black = -mean / std;
    flip(&(shift(&(x - &black), &[rows, columns]) + black), &[flipped])
}

/// Row and column of the middle of a hole of half the side.
fn centre(side: i64, stream: &mut Stream) -> [f64; 2] {
    let hole = (side as f64 * 0.5 + 0.5) as u32;
    // An even hole may have its middle one beyond the last pixel.
    let places = side as u32 + (1 - hole % 2);
    [f64::from(stream.below(places)), f64::from(stream.below(places))]
}

/// Zeros in a square of half the side around each middle.
fn hole(x: &Tensor, [row, column]: &[Tensor; 2]) -> Tensor {
    let side = x.size()[3];
    let hole = (side as f64 * 0.5 + 0.5).floor();
    let (before, after) = ((hole / 2.0).floor(), (hole - (hole / 2.0).floor()));
    let at = |shape: [i64; 4]| Tensor::arange(side, (Kind::Float, x.device())).reshape(shape);
    let within = |at: Tensor, middle: &Tensor| {
        let from = at - middle;
        from.ge(-before).logical_and(&from.lt(after))
    };
    let inside = within(at([1, 1, side, 1]), row).logical_and(&within(at([1, 1, 1, side]), column));
    x * inside.logical_not().to_kind(Kind::Float)
}

fn flip(x: &Tensor, [flipped]: &[Tensor; 1]) -> Tensor {
    x.flip([3]) * flipped + x * (1.0 - flipped)
}

/// Rows of the matrix from places of the output to places of the input, both from -1 to 1.
fn scaling(x: f64, y: f64) -> [f64; 4] {
    let factor = |u: f64| u * (1.2 - 1.0 / 1.2) + 1.0 / 1.2;
    [factor(x), 0.0, 0.0, factor(y)]
}

fn turning(u: f64) -> [f64; 4] {
    let angle = (u - 0.5) * 2.0 * 15.0 / 180.0 * std::f64::consts::PI;
    [angle.cos(), -angle.sin(), angle.sin(), angle.cos()]
}

/// Bilinear, zeros outside.
fn affine(x: &Tensor, matrix: &[Tensor; 4]) -> Tensor {
    let images = x.size()[0];
    let flat: Vec<Tensor> = matrix.iter().map(|number| number.reshape([images, 1])).collect();
    let none = flat[0].zeros_like();
    let rows = Tensor::cat(&[&flat[0], &flat[1], &none, &flat[2], &flat[3], &none], 1).reshape([images, 2, 3]);
    let grid = Tensor::affine_grid_generator(&rows, x.size(), false);
    x.grid_sampler(&grid, 0, 0, false)
}

/// Standard deviations and axes of the colours of ImageNet's pixels (Krizhevsky et al., NeurIPS 2012).
const SPREADS: [f64; 3] = [0.2175, 0.0188, 0.0045];
const AXES: [[f64; 3]; 3] = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]];

fn jitter(x: &Tensor, draws: &Draws, normalise: &Normalise) -> Tensor {
    let (mean, std) = normalise.tensors(x.device());
    let [b, c, s, order, red, green, blue] = draws.each(|stream| {
        let mut amount = || 0.8 * stream.uniform() - 0.4;
        let [b, c, s] = [amount(), amount(), amount()];
        let order = f64::from(stream.below(6));
        let alpha: [f64; 3] = std::array::from_fn(|_| 0.1 * stream.normal());
        let noise = |row: usize| (0..3).map(|axis| AXES[row][axis] * alpha[axis] * SPREADS[axis]).sum::<f64>();
        [b, c, s, order, noise(0), noise(1), noise(2)]
    });
    let x = in_order(&(x * &std + &mean), &[b, c, s], &order) + Tensor::cat(&[red, green, blue], 1);
    (x - mean) / std
}

/// In which order an image's brightness (0), contrast (1) and saturation (2) change.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Pixels in 0..1, each image moved towards black, its mean grey and its greys by its own amounts, in its own order.
fn in_order(x: &Tensor, [black, mean, greys]: &[Tensor; 3], order: &Tensor) -> Tensor {
    let grey = |x: &Tensor| x.narrow(1, 0, 1) * 0.299 + x.narrow(1, 1, 1) * 0.587 + x.narrow(1, 2, 1) * 0.114;
    let towards = |x: &Tensor, other: &Tensor, amount: &Tensor| x + (other - x) * amount;
    let change = |x: &Tensor, which: usize| match which {
        0 => towards(x, &x.zeros_like(), black),
        1 => towards(x, &grey(x).mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float), mean),
        _ => towards(x, &grey(x), greys),
    };
    let mut x = x.shallow_clone();
    for turn in 0..3 {
        let mut next = x.zeros_like();
        for which in 0..3 {
            let takes = (0..).zip(ORDERS).filter(|(_, order)| order[turn] == which);
            let share =
                takes.fold(order.zeros_like(), |share, (o, _)| share + order.eq(f64::from(o)).to_kind(Kind::Float));
            next += change(&x, which) * share;
        }
        x = next;
    }
    x
}

#[cfg(test)]
mod tests;
