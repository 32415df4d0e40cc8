//! Request in, permit or denial out.
