//! A live view of a broker: what it shows is a model without a terminal, drawn by a function without a broker.

pub(crate) mod model;
pub(crate) mod poll;
pub(crate) mod render;
pub(crate) mod screen;

#[cfg(test)]
mod tests;
