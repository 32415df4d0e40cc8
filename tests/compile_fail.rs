//! What must not compile: each bypass of a safeguard is one file, and the compiler's refusal beside it.

#[test]
fn no_bypass_compiles() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
