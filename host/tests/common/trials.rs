//! Tests with a `main` of their own, by their names.

/// A list of trials, each of which calls a function.
macro_rules! trials {
    ($($name:ident)*) => {
        vec![$(libtest_mimic::Trial::test(stringify!($name), || {
            $name();
            Ok(())
        })),*]
    };
}
