//! Who says soft labels: a trained network, or several that speak as one.

use crate::batch::Normalise;
use crate::nets::{Mode, Network};
use tch::{Kind, Tensor};

/// A network, or several that speak as one, which labels what it sees under running statistics.
pub struct Teacher {
    members: Vec<Member>,
}

struct Member {
    network: Network,
    /// Its column of each class of the set; none where they are all of its columns in order.
    columns: Option<Tensor>,
    /// The constants of the pixels that it was trained with, where they are known.
    constants: Option<Normalise>,
}

impl Teacher {
    /// A teacher whose logit `columns[c]` is that of the set's class c.
    pub fn new(network: Network, columns: Vec<i64>) -> Teacher {
        let all = columns.len() == network.shape.classes && columns.iter().zip(0..).all(|(&column, c)| column == c);
        let device = network.params().first().map_or(tch::Device::Cpu, |param| param.tensor.device());
        let columns = (!all).then(|| Tensor::from_slice(&columns).to_device(device));
        Teacher { members: vec![Member { network, columns, constants: None }] }
    }

    /// The same, trained with these constants of the pixels.
    pub fn trained_with(self, constants: Normalise) -> Teacher {
        let with = |member| Member { constants: Some(constants), ..member };
        Teacher { members: self.members.into_iter().map(with).collect() }
    }

    /// All of some teachers as one.
    pub fn together(teachers: impl Iterator<Item = Teacher>) -> Teacher {
        Teacher { members: teachers.flat_map(|teacher| teacher.members).collect() }
    }

    /// Its logits [B, C] for images [B, 3, S, S] under the constants `shown`, fp32, rounded to the 16 bits in which they are stored, so that a
    /// student learns the same from a teacher and from its stored words. A teacher with constants of its own sees the pixels under those.
    pub fn says(&self, images: &Tensor, shown: &Normalise) -> Tensor {
        tch::no_grad(|| {
            let each: Vec<Tensor> = self.members.iter().map(|member| member.says(images, shown)).collect();
            let together = if let [one] = &each[..] { one.shallow_clone() } else { in_one_voice(&each) };
            together.to_kind(Kind::Half).to_kind(Kind::Float)
        })
    }
}

impl Member {
    fn says(&self, images: &Tensor, shown: &Normalise) -> Tensor {
        let own = self.constants.as_ref().filter(|own| *own != shown);
        let images = own.map_or_else(|| images.shallow_clone(), |own| own.instead_of(shown, images));
        let logits = self.network.forward(&images, Mode::Eval).logits;
        self.columns.as_ref().map_or_else(|| logits.shallow_clone(), |at| logits.index_select(1, at))
    }
}

/// The mean of some logits [B, C] after all were given one Frobenius norm, the mean of their own (G-VBSM, arXiv 2311.17950): a loud network does not drown
/// the others.
fn in_one_voice(each: &[Tensor]) -> Tensor {
    let all = Tensor::stack(each, 0); // [N, B, C]
    let norms = all.square().sum_dim_intlist(&[1i64, 2][..], true, Kind::Float).sqrt();
    (all / norms.clamp_min(1e-12) * norms.mean(Kind::Float)).mean_dim(&[0i64][..], false, Kind::Float)
}
