/* native/include/lightmill/lightmill.h: everything. */
#ifndef LIGHTMILL_LIGHTMILL_H
#define LIGHTMILL_LIGHTMILL_H
#include "arithmetic.h"
#include "checksum.h"
#include "codec.h"
#include "core.h"
#include "drizzle.h"
#include "fits.h"
#include "flags.h"
#include "ipc.h"
#include "jump.h"
#include "linearity.h"
#include "ramp_fit.h"
#include "readout.h"
#include "refpix.h"
#include "saturation.h"
#endif
