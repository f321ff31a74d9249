/// Feature rows to read: row-major, all of one width.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    data: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// Rows over `data`, whose length is a multiple of `width`; what is left over is not seen.
    pub fn new(data: &'a [f32], width: usize) -> Self {
        let whole = data.len().checked_div(width).unwrap_or(0) * width;
        Self { data: &data[..whole], width }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.data.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Columns of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `at`; an empty one past the end.
    pub fn row(&self, at: usize) -> &'a [f32] {
        self.data.get(at * self.width..(at + 1) * self.width).unwrap_or(&[])
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        self.data.chunks_exact(self.width.max(1))
    }

    /// All values, row by row.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }
}

/// Feature rows to fill: one extractor's columns within the pipeline's wider rows.
#[derive(Debug)]
pub struct RowsMut<'a> {
    data: &'a mut [f32],
    stride: usize,
    first: usize,
    width: usize,
}

impl<'a> RowsMut<'a> {
    /// Columns `first..first + width` of rows that are `stride` wide.
    pub fn new(data: &'a mut [f32], stride: usize, first: usize, width: usize) -> Self {
        debug_assert!(first + width <= stride);
        Self { data, stride, first, width }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.data.len().checked_div(self.stride).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Columns of this extractor.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Width of the pipeline's rows, first column of this extractor, its columns.
    pub(crate) fn place(&self) -> (usize, usize, usize) {
        (self.stride, self.first, self.width)
    }

    /// The pipeline's rows as a whole.
    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        self.data
    }

    /// A writer over this extractor's columns of row `at`.
    pub fn writer(&mut self, at: usize) -> RowWriter<'_> {
        RowWriter::new(self.row(at))
    }

    /// This extractor's columns of row `at`.
    pub fn row(&mut self, at: usize) -> &mut [f32] {
        let begin = at * self.stride + self.first;
        self.data.get_mut(begin..begin + self.width).unwrap_or(&mut [])
    }
}

/// Fills one row from left to right, so that values stand in the order of the columns' declaration.
#[derive(Debug)]
pub struct RowWriter<'a> {
    cells: std::slice::IterMut<'a, f32>,
}

impl<'a> RowWriter<'a> {
    /// A writer over one row.
    pub fn new(row: &'a mut [f32]) -> Self {
        Self { cells: row.iter_mut() }
    }

    /// Writes the next cell; NaN for "not there". What goes past the end is left out.
    pub fn put(&mut self, value: f64) {
        if let Some(cell) = self.cells.next() {
            *cell = value as f32;
        }
    }

    /// Writes 1 for yes and 0 for no.
    pub fn flag(&mut self, value: bool) {
        self.put(if value { 1.0 } else { 0.0 });
    }

    /// Writes a number that may be missing.
    pub fn maybe(&mut self, value: Option<f64>) {
        self.put(value.unwrap_or(f64::NAN));
    }

    /// Cells not yet written: 0 at the end of a row that fits its columns.
    pub fn left(&self) -> usize {
        self.cells.len()
    }
}
