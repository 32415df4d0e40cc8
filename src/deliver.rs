//! Our side of an exchange: a recorded release in, a receipt out.
