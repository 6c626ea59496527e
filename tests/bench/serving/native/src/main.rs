//! What the machine can do: the same model behind HTTP, without Python. `native MODEL INPUT PORT THREADS`.
//!
//! ORT_DYLIB_PATH names the ONNX Runtime to load; INPUT is a JSON file, see `tests/bench/serving/models.py`.

use std::{cell::RefCell, env, error::Error, fs};

use axum::{body::Bytes, http::header::CONTENT_TYPE, response::IntoResponse, routing, Router};
use ort::{session::Session, value::TensorRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<usize>,
    columns: Vec<String>, // of rows that are objects
    mean: Vec<f32>,
    scale: Vec<f32>,
}

#[derive(Deserialize)]
struct Question {
    rows: Vec<Value>,
}

#[derive(Serialize)]
struct Answer<'a> {
    predictions: Vec<&'a [f32]>,
}

thread_local!(static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) });

fn session() -> ort::Result<Session> {
    let model = env::args().nth(1).expect("MODEL");
    Session::builder()?.with_intra_threads(1)?.commit_from_file(model)
}

fn flatten(value: &Value, columns: &[String], numbers: &mut Vec<f32>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, columns, numbers)),
        Value::Object(row) => columns.iter().for_each(|name| flatten(&row[name], columns, numbers)),
        _ => numbers.push(value.as_f64().expect("a number") as f32),
    }
}

fn predict(input: &Input, body: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let rows = serde_json::from_slice::<Question>(body)?.rows;
    let mut numbers = Vec::new();
    rows.iter().for_each(|row| flatten(row, &input.columns, &mut numbers));
    let pairs = input.mean.iter().zip(&input.scale).cycle();
    numbers.iter_mut().zip(pairs).for_each(|(number, (mean, scale))| *number = (*number - mean) / scale);
    let mut shape = vec![rows.len()];
    shape.extend(&input.shape);
    SESSION.with_borrow_mut(|own| {
        let own = own.get_or_insert_with(|| session().expect("the model can be loaded"));
        let tensor = TensorRef::from_array_view((shape, numbers.as_slice()))?;
        let outputs = own.run(ort::inputs![input.name.as_str() => tensor])?;
        let (shape, values) = outputs[0].try_extract_tensor::<f32>()?;
        Ok(serde_json::to_vec(&Answer { predictions: values.chunks(shape[1] as usize).collect() })?)
    })
}

async fn serve(input: Input, port: u16) -> Result<(), Box<dyn Error>> {
    let input: &'static Input = Box::leak(Box::new(input));
    let answer = move |body: Bytes| async move {
        ([(CONTENT_TYPE, "application/json")], predict(input, &body).expect("a prediction")).into_response()
    };
    let app = Router::new().route("/predict", routing::post(answer)).route("/readyz", routing::get(|| async { "{}" }));
    Ok(axum::serve(tokio::net::TcpListener::bind(("127.0.0.1", port)).await?, app).await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let [input, port, threads] = [2, 3, 4].map(|place| env::args().nth(place).expect("MODEL INPUT PORT THREADS"));
    let input = serde_json::from_str(&fs::read_to_string(input)?)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads.parse()?).enable_all().build()?.block_on(serve(input, port.parse()?))
}
