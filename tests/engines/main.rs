//! The stores on engines, against servers that the tests start: one binary, so that it links once.
