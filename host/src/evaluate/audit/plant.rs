//! Leaks that are planted to see that the audit finds them.

use crate::learn::{Dataset, Truth};

/// A column that should not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leak {
    /// The server's address, as a number.
    Address,
    /// A number that each capture has of its own.
    Capture,
    /// The label.
    Label,
}

impl Leak {
    /// The leak of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Address, Self::Capture, Self::Label].into_iter().find(|leak| leak.name() == name)
    }

    /// Its name, which is also that of the column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Capture => "capture",
            Self::Label => "label",
        }
    }

    /// Adds the column at the end of every row; gives its name.
    pub fn plant(self, data: &mut Dataset) -> String {
        let width = data.width;
        let mut values = Vec::with_capacity(data.rows.len() * (width + 1));
        for (at, row) in data.rows.iter().enumerate() {
            values.extend_from_slice(data.row(at));
            values.push(match self {
                // So much of it as an `f32` holds.
                Self::Address => (row.keys.server & 0x00ff_ffff) as f32,
                Self::Capture => ((row.capture as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as f32,
                Self::Label => f32::from(u8::from(row.truth == Truth::Malicious)),
            });
        }
        data.values = values;
        data.width = width + 1;
        format!("planted.{}", self.name())
    }
}
