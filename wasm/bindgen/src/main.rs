//! `deathtensors-bindgen MODULE FOLDER NAME` writes `NAME.js`, `NAME.d.ts` and
//! `NAME_bg.wasm` for the browser, Node and everything alike.

use wasm_bindgen_cli_support::Bindgen;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder, name] = &arguments[..] else {
        eprintln!("usage: deathtensors-bindgen MODULE FOLDER NAME");
        std::process::exit(2);
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name(name).typescript(true);
    let made = bindgen
        .web(true)
        .map(|bindgen| bindgen.omit_default_module_path(true))
        .and_then(|bindgen| bindgen.generate(folder));
    if let Err(error) = made {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}
