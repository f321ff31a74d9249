use super::bins::{Bins, MAX_EDGES};
use super::bytes::{Flaw, Reader, put_count};
use serde::Serialize;
use veilwatch_core::detect::is_unruly;

/// Columns that flows are compared by, at most.
pub const COLUMNS: usize = 32;
/// Flows of training that are remembered, at most.
pub const MAX_PROTOTYPES: usize = 4096;
/// Flows of training that stand for all when it is asked how new a flow is: few, because every flow is compared with them.
pub const LANDMARKS: usize = 256;
/// Bytes of a family's name, at most.
pub const FAMILY_BYTES: usize = 64;

/// Where a flow lies in each of the compared columns: from 50 for the least value of training to 100 for the largest, with
/// 255 for missing; columns that there are none of lie at 0.
pub type Place = [u8; COLUMNS];

/// What is between the least and the largest value that training saw; in no column two flows are farther apart.
const STEP: u8 = 50;
/// Where what is missing lies: as far from everything as can be.
const AWAY: u8 = u8::MAX;

/// What a remembered flow of training was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A flow of a benign capture.
    Benign,
    /// A benign flow of an infected machine.
    Background,
    /// A malicious one.
    Malicious,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Benign, Self::Background, Self::Malicious];

    /// Its name in output, which is that of the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Background => "background",
            Self::Malicious => "malicious",
        }
    }
}

/// A remembered flow that is near to one that was asked about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neighbour {
    /// The family its label or its capture names; empty for none.
    pub family: String,
    /// What it was.
    pub label: Kind,
    /// Mean difference over the compared columns: 0 where both lie in the same bins, 1 where nothing is alike.
    pub distance: f64,
}

/// Flows of training that are remembered, and the columns that they are remembered by.
#[derive(Debug, Clone, PartialEq)]
pub struct Prototypes {
    /// Places of the columns in a row.
    columns: Vec<u16>,
    /// Those columns' bins.
    bins: Vec<Bins>,
    families: Vec<String>,
    /// What each flow was, and the place of its family.
    flows: Vec<(Kind, u16)>,
    /// Their bins, a byte a column.
    codes: Vec<u8>,
    /// Where they lie, which follows from their bins.
    places: Vec<Place>,
    /// Where each bin of each column lies.
    steps: Vec<[u8; MAX_EDGES + 2]>,
}

impl Prototypes {
    /// None yet, by these columns of the bins of all.
    pub(crate) fn new(columns: &[u16], all: &[Bins]) -> Self {
        let of = |column: &u16| all.get(usize::from(*column)).cloned().unwrap_or_else(|| Bins::learn([].into_iter()));
        let bins: Vec<Bins> = columns.iter().take(COLUMNS).map(of).collect();
        Self {
            columns: columns.iter().copied().take(COLUMNS).collect(),
            steps: bins.iter().map(steps).collect(),
            bins,
            families: Vec::new(),
            flows: Vec::new(),
            codes: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Remembers a flow, where there is room; of the family's name what is harmless.
    pub(crate) fn remember(&mut self, row: &[f32], kind: Kind, family: &str) {
        if self.flows.len() >= MAX_PROTOTYPES {
            return;
        }
        let name = harmless(family);
        let known = self.families.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.families.push(name);
            self.families.len() - 1
        });
        let codes = self.columns.iter().zip(&self.bins).map(|(at, bins)| bins.bin(value(row, *at)));
        self.codes.extend(codes);
        // There are no more families than flows.
        self.flows.push((kind, known as u16));
        self.places.push(self.place(row));
    }

    /// How many flows are remembered.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The columns that flows are compared by, as places in a row.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|at| usize::from(*at))
    }

    /// Where a row lies.
    #[inline]
    pub fn place(&self, row: &[f32]) -> Place {
        let mut place = [0; COLUMNS];
        for (((to, at), bins), steps) in place.iter_mut().zip(&self.columns).zip(&self.bins).zip(&self.steps) {
            *to = steps.get(usize::from(bins.bin(value(row, *at)))).copied().unwrap_or(AWAY);
        }
        place
    }

    /// How far the nearest landmark is, in steps; nothing where nothing is remembered.
    ///
    /// Every flow is compared with all landmarks, so this is what novelty costs. It stays a call of its own: where the place
    /// is put together in the same function, it is taken apart again, and compared byte by byte.
    #[inline(never)]
    pub fn remoteness(&self, place: &Place) -> Option<u16> {
        self.places.iter().take(LANDMARKS).map(|known| apart(known, place)).min()
    }

    /// The nearest remembered flow of each kind and family, nearest first, and at most `most` of them.
    pub fn nearest(&self, place: &Place, most: usize) -> Vec<Neighbour> {
        // Few kinds and families are near: most flows are farther than what is found, or of one that is.
        let mut nearest: Vec<(u16, (Kind, u16))> = Vec::with_capacity(most + 1);
        for (known, flow) in self.places.iter().zip(&self.flows) {
            let one = (apart(known, place), *flow);
            if nearest.len() >= most && nearest.last().is_none_or(|last| one >= *last) {
                continue;
            }
            match nearest.iter().position(|known| known.1 == one.1) {
                Some(at) if nearest.get(at).is_some_and(|known| *known <= one) => continue,
                Some(at) => _ = nearest.remove(at),
                None => {}
            }
            nearest.insert(nearest.partition_point(|known| *known < one), one);
            nearest.truncate(most);
        }
        let told = |(apart, (label, family)): (u16, (Kind, u16))| Neighbour {
            family: self.families.get(usize::from(family)).cloned().unwrap_or_default(),
            label,
            distance: self.share(apart),
        };
        nearest.into_iter().map(told).collect()
    }

    /// A distance in steps as a share of the largest that there can be.
    pub fn share(&self, apart: u16) -> f64 {
        f64::from(apart) / (f64::from(STEP) * self.columns.len().max(1) as f64)
    }

    /// The landmarks first: each the one that is farthest from all before it (Gonzalez 1985), so that a few of them are
    /// near to all. Among those that are equally far, and for the first, the order decides.
    pub(crate) fn spread(&mut self) {
        let mut farness = vec![u16::MAX; self.places.len()];
        for at in 0..LANDMARKS.min(self.places.len()) {
            let rest = farness.iter().enumerate().skip(at);
            let next = rest.max_by_key(|(place, far)| (**far, std::cmp::Reverse(*place))).map(|(place, _)| place);
            let Some(next) = next else { break };
            self.swap(at, next);
            farness.swap(at, next);
            let Some(landmark) = self.places.get(at).copied() else { break };
            farness.iter_mut().zip(&self.places).for_each(|(far, known)| *far = apart(known, &landmark).min(*far));
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.flows.swap(a, b);
        self.places.swap(a, b);
        let width = self.columns.len();
        (0..width).for_each(|column| self.codes.swap(a * width + column, b * width + column));
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_count(out, self.columns.len());
        out.extend(self.columns.iter().flat_map(|column| column.to_le_bytes()));
        put_count(out, self.families.len());
        for family in &self.families {
            put_count(out, family.len());
            out.extend(family.as_bytes());
        }
        put_count(out, self.flows.len());
        for (kind, family) in &self.flows {
            out.push(*kind as u8);
            out.extend(family.to_le_bytes());
        }
        out.extend(&self.codes);
    }

    /// Reads what was written beside the bins of all columns.
    pub(super) fn read(from: &mut Reader<'_>, all: &[Bins]) -> Result<Self, Flaw> {
        let count = from.count(COLUMNS)?;
        let columns = (0..count).map(|_| from.u16()).collect::<Result<Vec<_>, _>>()?;
        if !columns.iter().all(|at| usize::from(*at) < all.len()) {
            return Err("it compares flows by a column that there is none of");
        }
        let mut read = Self::new(&columns, all);
        for _ in 0..from.count(MAX_PROTOTYPES)? {
            let len = from.count(FAMILY_BYTES)?;
            let name = std::str::from_utf8(from.bytes(len)?).map_err(|_| "the name of a family is no text")?;
            if name != harmless(name) {
                return Err("the name of a family is not harmless");
            }
            read.families.push(name.to_owned());
        }
        let flows = from.count(MAX_PROTOTYPES)?;
        for _ in 0..flows {
            let kind = from.u8()?;
            let kind =
                *Kind::ALL.get(usize::from(kind)).ok_or("a flow of training has a label that there is none of")?;
            let family = from.u16()?;
            if usize::from(family) >= read.families.len() {
                return Err("a flow of training has a family that there is none of");
            }
            read.flows.push((kind, family));
        }
        read.codes = from.bytes(flows * count)?.to_vec();
        read.places.reserve(flows);
        for at in 0..flows {
            let mut place = [0; COLUMNS];
            let codes = read.codes.iter().skip(at * count);
            for (((to, code), bins), steps) in place.iter_mut().zip(codes).zip(&read.bins).zip(&read.steps) {
                let step = steps.get(usize::from(*code)).filter(|_| usize::from(*code) < bins.len());
                *to = *step.ok_or("a flow of training lies in a bin that there is none of")?;
            }
            read.places.push(place);
        }
        Ok(read)
    }
}

fn value(row: &[f32], at: u16) -> f32 {
    row.get(usize::from(at)).copied().unwrap_or(f32::NAN)
}

/// Where each bin of a column lies.
fn steps(bins: &Bins) -> [u8; MAX_EDGES + 2] {
    // The first bin and the last are outside of what training saw, the second holds its least value.
    let between = bins.len().saturating_sub(4).max(1);
    let step = usize::from(STEP);
    let far = usize::from(AWAY - STEP) - 1;
    std::array::from_fn(|bin| match bin {
        0 => AWAY,
        _ => (step * (between + bin - 2) / between).min(far) as u8,
    })
}

/// How far two places are apart, in steps.
#[inline]
fn apart(a: &Place, b: &Place) -> u16 {
    // Differences that saturate are what processors have instructions for, sixteen at a time.
    a.iter().zip(b).map(|(a, b)| u16::from((a.saturating_sub(*b) | b.saturating_sub(*a)).min(STEP))).sum()
}

/// A family's name as it is remembered: short, and nothing that a terminal obeys.
fn harmless(name: &str) -> String {
    let mut out: String = name.chars().filter(|c| !is_unruly(*c)).collect();
    while out.len() > FAMILY_BYTES {
        out.pop();
    }
    out
}
