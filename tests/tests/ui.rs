//! What the compiler says about each mistake with the derives and attributes.

#[test]
fn every_mistake_is_reported_on_its_own_tokens() {
    let tests = trybuild::TestCases::new();
    tests.compile_fail("ui/*.rs");
}
