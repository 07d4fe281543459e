// Features of a picture, every second. model.h has a blob of `mim convert --numerics integer`, which takes 32 x 32 pixels;
// the picture here is a gradient: in its place, a camera's.
#include <mim.h>
#include "model.h"

static uint16_t frame[32 * 32];                     // RGB565
static int16_t features[64];
alignas(16) static uint8_t arena[8192];
static mim_model model;
static mim_session session;

static void need(mim_status status)
{
  if (status == MIM_OK)
    return;
  for (;;) {
    Serial.println(mim_status_string(status));
    delay(1000);
  }
}

void setup()
{
  mim_memory memory = {};
  Serial.begin(115200);
  need(mim_open(&model, model_blob, sizeof model_blob));
  need(mim_plan(&model, NULL, &memory));            // the least that it needs
  if (memory.bytes > sizeof arena || model.header->pooled_dim > 64)
    need(MIM_ERR_MEMORY);
  memory.base = arena;
  memory.bytes = sizeof arena;
  need(mim_begin(&session, &model, NULL, &memory));
}

void loop()
{
  mim_image image = {};
  mim_integers integers = {};
  mim_output out = {};
  for (unsigned i = 0; i < 32 * 32; i++)
    frame[i] = (uint16_t)(i / 32 << 11 | i % 32);
  image.format = MIM_RGB565;
  image.width = image.height = 32;
  image.pixels = frame;
  integers.pooled = features;
  out.integers = &integers;
  const unsigned long begin = micros();
  need(mim_encode(&session, &image, &out));
  Serial.print(micros() - begin);
  Serial.print(" us:");
  for (unsigned i = 0; i < model.header->pooled_dim; i++) {
    Serial.print(' ');
    Serial.print(features[i]);
  }
  Serial.println();
  delay(1000);
}
