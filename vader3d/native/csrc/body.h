// One instruction set's worth of the march; included by march.cpp with VARIANT and LANES set.
namespace VARIANT {
#include "vectors.h"
#include "samples.h"
#include "grids.h"
#include "leaps.h"
#include "forward.h"
#include "backward.h"
#include "nearest.h"
#include "resample.h"
}  // namespace VARIANT
#undef VARIANT
#undef LANES
