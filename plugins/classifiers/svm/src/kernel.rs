use veilwatch_classifier_shared::codec::{MAX_NUMBER, Reader, Writer, number};
use veilwatch_classifier_shared::columns::{Columns, MAX_LIMIT};
use veilwatch_classifier_shared::learner::Model;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::PluginError;

/// Least and greatest squared distance over which likeness may fall to 1/e.
pub(crate) const MIN_WIDTH: f64 = 1e-3;
/// See [`MIN_WIDTH`].
pub(crate) const MAX_WIDTH: f64 = 1e9;
/// Numbers of all support vectors, at most: 64 MB of them.
const MAX_NUMBERS: usize = 1 << 24;
/// Steps of an explanation from the mean to a row.
const STEPS: usize = 32;
/// Numbers that are multiplied side by side.
const LANES: usize = 8;

/// A weighted sum of likenesses to support vectors, `exp(−distance² / width)`.
///
/// It explains by integrated gradients (Sundararajan and others 2017): on the way from the training mean to the row, a
/// column's part is what its own movement changes. The way is taken in 32 steps; what rounding leaves is spread over
/// the columns by the size of their parts, so that the parts and the score of the mean are the score.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    columns: Columns,
    width: f64,
    base: f64,
    alphas: Vec<f64>,
    vectors: Vec<f32>,
    /// Of each vector its squared length.
    squares: Vec<f64>,
}

impl Kernel {
    /// From the support vectors, one after the other, and the factor of each.
    pub(crate) fn new(
        columns: Columns,
        width: f64,
        base: f64,
        alphas: Vec<f64>,
        vectors: Vec<f32>,
    ) -> Result<Self, PluginError> {
        let bad = |what: &str| Err(PluginError::data(format!("support vectors {what}")));
        if !(MIN_WIDTH..=MAX_WIDTH).contains(&width) {
            return bad("of a width that cannot be");
        }
        if vectors.len() != alphas.len() * columns.len() || vectors.len() > MAX_NUMBERS {
            return bad("that are not as many as they must be: lower `rows`");
        }
        if vectors.iter().any(|number| !(f64::from(number.abs()) <= MAX_LIMIT)) {
            return bad("that lie too far away");
        }
        number(base)?;
        // A sum of all stays a number as well.
        if !(alphas.iter().map(|alpha| alpha.abs()).sum::<f64>() <= MAX_NUMBER) {
            return bad("whose factors are too large");
        }
        let squares = vectors.chunks_exact(columns.len()).map(|vector| dot(vector, vector)).collect();
        Ok(Self { columns, width, base, alphas, vectors, squares })
    }

    /// The vectors, each with its factor and its squared length.
    fn vectors(&self) -> impl Iterator<Item = (&[f32], f64, f64)> {
        let vectors = self.vectors.chunks_exact(self.columns.len()).zip(&self.alphas).zip(&self.squares);
        vectors.map(|((vector, alpha), square)| (vector, *alpha, *square))
    }

    /// A row as numbers of the size that vectors have.
    fn numbers(&self, row: &[f32]) -> Vec<f32> {
        self.columns.of(row).map(|(_, number)| number as f32).collect()
    }

    fn likeness(&self, squared_distance: f64) -> f64 {
        (-squared_distance.max(0.0) / self.width).exp()
    }

    fn score_of(&self, numbers: &[f32]) -> f64 {
        let likeness = |(vector, alpha, _)| alpha * self.likeness(squared_distance(vector, numbers));
        self.base + self.vectors().map(likeness).sum::<f64>()
    }
}

impl Model for Kernel {
    fn width(&self) -> usize {
        self.columns.width()
    }

    fn score(&self, rows: &Rows<'_>, scores: &mut [f64]) {
        for (row, score) in rows.iter().zip(scores) {
            *score = self.score_of(&self.numbers(row));
        }
    }

    fn explain(&self, row: &[f32], parts: &mut [f64]) {
        let numbers = self.numbers(row);
        let length = dot(&numbers, &numbers);
        // A number's part is its product with the mean slope on the way: a sum over vectors of a factor of the number
        // itself, and one of the vector's number.
        let mut own = 0.0;
        let mut others = vec![0.0; numbers.len()];
        for (vector, alpha, square) in self.vectors() {
            let along = dot(vector, &numbers);
            let (mut likeness, mut moved) = (0.0, 0.0);
            for step in 0..STEPS {
                let way = (step as f64 + 0.5) / STEPS as f64;
                let here = self.likeness(square - 2.0 * way * along + way * way * length);
                likeness += here;
                moved += here * way;
            }
            let factor = -2.0 * alpha / self.width / STEPS as f64;
            own += factor * moved;
            let factor = factor * likeness;
            others.iter_mut().zip(vector).for_each(|(other, number)| *other -= factor * f64::from(*number));
        }
        let part = |(number, other): (&f32, &f64)| f64::from(*number) * (own * f64::from(*number) + other);
        let told: Vec<f64> = numbers.iter().zip(&others).map(part).collect();
        let change = self.score_of(&numbers) - self.score_of(&vec![0.0; numbers.len()]);
        let (sum, size) = told.iter().fold((0.0, 0.0), |(sum, size), part| (sum + part, size + part.abs()));
        let spread = if size > 0.0 { (change - sum) / size } else { 0.0 };
        parts.fill(0.0);
        for ((source, _), part) in self.columns.of(row).zip(told) {
            parts[source] += part + spread * part.abs();
        }
    }

    fn write(&self, to: &mut Writer) -> Result<(), PluginError> {
        self.columns.write(to)?;
        to.put(&(self.width, self.base, self.alphas.len() as u32))?;
        self.alphas.iter().try_for_each(|alpha| to.put(alpha))?;
        self.vectors.iter().try_for_each(|number| to.put(number))
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, PluginError> {
        let columns = Columns::read(from)?;
        let (width, base): (f64, f64) = from.take()?;
        let count = from.count("support vectors", MAX_NUMBERS / columns.len(), 8 + 4 * columns.len())?;
        let alphas = (0..count).map(|_| from.take()).collect::<Result<_, _>>()?;
        let vectors = (0..count * columns.len()).map(|_| from.take()).collect::<Result<_, _>>()?;
        Self::new(columns, width, base, alphas, vectors)
    }
}

/// Sums in lanes, so that they are computed side by side.
fn sum(one: &[f32], other: &[f32], of: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest = ones.remainder().iter().zip(others.remainder());
    let rest = rest.map(|(one, other)| of(f64::from(*one), f64::from(*other))).sum::<f64>();
    for (one, other) in ones.zip(others) {
        for ((lane, one), other) in lanes.iter_mut().zip(one).zip(other) {
            *lane += of(f64::from(*one), f64::from(*other));
        }
    }
    lanes.iter().sum::<f64>() + rest
}

fn dot(one: &[f32], other: &[f32]) -> f64 {
    sum(one, other, |one, other| one * other)
}

fn squared_distance(one: &[f32], other: &[f32]) -> f64 {
    sum(one, other, |one, other| (one - other) * (one - other))
}
