"""The compiled inner loops of the voxelizer: exact scan conversion of closed triangle meshes.

Vertices are rounded to 1/4096 of a voxel on the global lattice, and all decisions about which voxel centres
a triangle's projection covers are made in integers under one half-open rule. So a closed mesh gives as many
entries as exits on every line of voxels, also where lines hit edges and vertices exactly, and a voxel's
value never depends on the box it is asked for in. The box is worked through in pencils, 16 by 16 lines along
x, that are independent of
each other: any number of threads gives the same bytes.

Scan conversion with a fill rule: Foley, van Dam, Feiner, Hughes, "Computer Graphics", section 3.5. Inside is
where the winding number is not zero.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

STEPS_PER_VOXEL = 4096
STEP_BITS = 12
HALF = STEPS_PER_VOXEL // 2
#: Vertices stay within this many steps of the origin, so that products of two differences fit in 64 bits.
LARGEST_STEP = 1 << 29
#: Lines of a pencil along z and along y.
PENCIL = 16

#: Faces that are passed over together where none of them concerns a box; in most meshes they are neighbours.
RUN = 64
#: Twice the area (nm²) up to which a face counts as an edge, and what bounds are widened by against rounding.
NO_AREA = 1e-9
SLACK_NM = 1e-2

_U = np.uint64
_MIX_A, _MIX_B = _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)
_ODD, _S30, _S27, _S31, _S32 = _U(0x9E3779B97F4A7C15), _U(30), _U(27), _U(31), _U(32)
_F = np.float32
_ZERO = _F(0)
#: No face so far: an infinite squared distance, and 1 nm.
_FAR = (_U(0x7F800000) << _S32) | _U(0x3F800000)
#: Voxels of a line whose distances are computed at a time.
LANES = 8


@njit(nogil=True, cache=True, inline="always")
def _mix(value):  # type: ignore[no-untyped-def]
    """A 64-bit hash of 64 bits (splitmix64, Steele, Lea and Flood 2014)."""
    value = (value ^ (value >> _S30)) * _MIX_A
    value = (value ^ (value >> _S27)) * _MIX_B
    return value ^ (value >> _S31)


@njit(nogil=True, cache=True, inline="always")
def _from(steps, origin, vertex):  # type: ignore[no-untyped-def]
    """One vertex relative to another."""
    return (
        float(steps[vertex, 0]) - steps[origin, 0],
        float(steps[vertex, 1]) - steps[origin, 1],
        float(steps[vertex, 2]) - steps[origin, 2],
    )


@njit(nogil=True, cache=True)
def survey(  # type: ignore[no-untyped-def]
    vertices_um,
    faces,
    vertex_start,
    face_start,
    steps_per_um,
    first,
    last,
    steps,
    keys,
    bounds,
    turns,
    merged,
    faults,
):
    """Round the vertices of parts first … last - 1 to steps, bound them, and check that each part is closed.

    A mesh is closed when every edge is run through as often in one direction as in the other. That is seen
    without
    a table of edges: each edge, named by the places of its ends, adds a 64-bit hash for one direction and
    takes it away for the other, and only a closed mesh sums to zero (but for one chance in 2^64).

    steps: out, (n, 3) int32; keys: scratch, (n,) uint64; bounds: out, (p, 6) int64, lowest x, y, z, highest
    x, y, z;
    turns: out, (p,) int8: 1 faces outward, -1 inward, 0 closed but not consistently oriented; faults: out,
    (p,) int8: 1 open, 2 too far out.
    """
    for part in range(first, last):
        low = vertex_start[part]
        for axis in range(3):
            bounds[part, axis] = LARGEST_STEP
            bounds[part, axis + 3] = -LARGEST_STEP
        for vertex in range(low, vertex_start[part + 1]):
            key = _ODD
            for axis in range(3):
                place = np.rint(vertices_um[vertex, axis] * steps_per_um[axis])
                if abs(place) > LARGEST_STEP:
                    faults[part] = 2
                    place = 0.0
                step = np.int64(place)
                steps[vertex, axis] = step
                bounds[part, axis] = min(bounds[part, axis], step)
                bounds[part, axis + 3] = max(bounds[part, axis + 3], step)
                key = _mix(key ^ (_U(step) + _ODD))
            keys[vertex] = key
        directed = _U(0)
        undirected = _U(0)
        by_index = _U(0)
        volume = 0.0
        for face in range(face_start[part], face_start[part + 1]):
            a = faces[face, 0] + low
            b = faces[face, 1] + low
            c = faces[face, 2] + low
            for side in range(3):
                tail = keys[a] if side == 0 else (keys[b] if side == 1 else keys[c])
                head = keys[b] if side == 0 else (keys[c] if side == 1 else keys[a])
                p = a if side == 0 else (b if side == 1 else c)
                q = b if side == 0 else (c if side == 1 else a)
                if p < q:
                    by_index += _mix(_U(p) * _ODD ^ _mix(_U(q)))
                else:
                    by_index -= _mix(_U(q) * _ODD ^ _mix(_U(p)))
                if tail < head:
                    edge = _mix(tail ^ _mix(head + _ODD))
                    directed += edge
                    undirected ^= edge
                elif head < tail:
                    edge = _mix(head ^ _mix(tail + _ODD))
                    directed -= edge
                    undirected ^= edge
            ax, ay, az = _from(steps, low, a)
            bx, by, bz = _from(steps, low, b)
            cx, cy, cz = _from(steps, low, c)
            volume += ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        merged[part] = by_index == _U(0)
        if directed == _U(0):
            turns[part] = 1 if volume >= 0 else -1
        else:
            turns[part] = 0
            if undirected != _U(0):
                faults[part] = 1


@njit(nogil=True, cache=True)
def bound_runs(steps, faces, vertex_start, face_start, first_run, last_run, runs):  # type: ignore[no-untyped-def]
    """Bound each run of RUN faces, the first being face 0; runs: out, (r, 5) int32, lowest x, y, z, highest y, z."""
    part = np.searchsorted(face_start, first_run * RUN, side="right") - 1
    for run in range(first_run, last_run):
        runs[run, :3] = LARGEST_STEP
        runs[run, 3:] = -LARGEST_STEP
        for face in range(run * RUN, min(run * RUN + RUN, len(faces))):
            while face >= face_start[part + 1]:
                part += 1
            for corner in range(3):
                vertex = faces[face, corner] + vertex_start[part]
                for axis in range(3):
                    runs[run, axis] = min(runs[run, axis], steps[vertex, axis])
                for axis in range(1, 3):
                    runs[run, axis + 2] = max(runs[run, axis + 2], steps[vertex, axis])


@njit(nogil=True, cache=True, inline="always")
def _pencil_range(low, high, reach, origin, count):  # type: ignore[no-untyped-def]
    """First and last pencil of one axis that has a voxel centre within `reach` steps of [low, high]."""
    # The first centre at or above low - reach, and the last at or below high + reach.
    first = ((low - reach - HALF + STEPS_PER_VOXEL - 1) >> STEP_BITS) - origin
    last = ((high + reach - HALF) >> STEP_BITS) - origin
    first = max(first, 0)
    last = min(last, count - 1)
    if first > last:
        return 1, 0
    return first // PENCIL, last // PENCIL


@njit(nogil=True, cache=True)
def sort_into_pencils(  # type: ignore[no-untyped-def]
    steps, faces, vertex_start, face_start, bounds, reaches, runs, box, first_face, last_face, places, entries, fill
):
    """Count (fill False) or list (fill True) the faces first_face … last_face - 1 by the pencils that they concern.

    box: origin z, y, x and shape z, y, x in voxels; reaches: (p, 3) steps in x, y, z to which a part's
    membrane acts beyond its surface (0 without one); runs: as from `bound_runs`; places: per pencil, the count, or the
    next place in `entries`.
    """
    pencils_y = (box[4] + PENCIL - 1) // PENCIL
    x_low = box[2] << STEP_BITS
    x_high = (box[2] + box[5]) << STEP_BITS
    y_low, y_high = box[1] << STEP_BITS, (box[1] + box[4]) << STEP_BITS
    z_low, z_high = box[0] << STEP_BITS, (box[0] + box[3]) << STEP_BITS
    part = np.searchsorted(face_start, first_face, side="right") - 1
    face = first_face
    while face < last_face:
        while face >= face_start[part + 1]:
            part += 1
        end = min(last_face, face_start[part + 1])
        reach_x, reach_y, reach_z = reaches[part, 0], reaches[part, 1], reaches[part, 2]
        away = (
            bounds[part, 0] - reach_x >= x_high
            or bounds[part, 3] + reach_x <= x_low
            or bounds[part, 1] - reach_y >= y_high
            or bounds[part, 4] + reach_y <= y_low
            or bounds[part, 2] - reach_z >= z_high
            or bounds[part, 5] + reach_z <= z_low
        )
        if away:
            face = end
            continue
        start = vertex_start[part]
        while face < end:
            if face % RUN == 0 and face + RUN <= end:
                run = face // RUN
                if (
                    runs[run, 0] - reach_x >= x_high
                    or runs[run, 1] - reach_y >= y_high
                    or runs[run, 2] - reach_z >= z_high
                    or runs[run, 3] + reach_y <= y_low
                    or runs[run, 4] + reach_z <= z_low
                ):
                    face += RUN
                    continue
            a, b, c = faces[face, 0] + start, faces[face, 1] + start, faces[face, 2] + start
            ax, bx, cx = np.int64(steps[a, 0]), np.int64(steps[b, 0]), np.int64(steps[c, 0])
            low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
            if low_x - reach_x < x_high:
                # A face left of the box still turns the lines that pass it on their way in.
                near = high_x + reach_x > x_low
                ay, by, cy = np.int64(steps[a, 1]), np.int64(steps[b, 1]), np.int64(steps[c, 1])
                az, bz, cz = np.int64(steps[a, 2]), np.int64(steps[b, 2]), np.int64(steps[c, 2])
                z0, z1 = _pencil_range(min(az, bz, cz), max(az, bz, cz), reach_z if near else 0, box[0], box[3])
                y0, y1 = _pencil_range(min(ay, by, cy), max(ay, by, cy), reach_y if near else 0, box[1], box[4])
                for pencil_z in range(z0, z1 + 1):
                    for pencil_y in range(y0, y1 + 1):
                        pencil = pencil_z * pencils_y + pencil_y
                        if fill:
                            entries[places[pencil]] = face
                        places[pencil] += 1
            face += 1


@njit(nogil=True, cache=True, inline="always")
def _first_line(low_y, low_z, high_y, high_z, z):  # type: ignore[no-untyped-def]
    """The first voxel line in y whose centre is at or beyond an edge, at height z; exact, in integers."""
    rise = high_z - low_z
    offset = low_y - HALF
    numerator = (offset & (STEPS_PER_VOXEL - 1)) * rise + (high_y - low_y) * (z - low_z)
    return (offset >> STEP_BITS) - (-numerator) // (rise << STEP_BITS)


@njit(nogil=True, cache=True)
def _extent(normal, plane_low, plane_high, low_margin, high_margin):  # type: ignore[no-untyped-def]
    """How far the band above a face reaches beyond its corners along an axis on which its normal has that share."""
    aside = np.sqrt(max(1 - normal * normal, 0.0))
    low = min(plane_low * normal - low_margin * aside, plane_high * normal - high_margin * aside)
    high = max(plane_low * normal + low_margin * aside, plane_high * normal + high_margin * aside)
    return low, high


@njit(nogil=True, cache=True, inline="always")
def _inverse(slope):  # type: ignore[no-untyped-def]
    """1 / slope, or 0 for a slope so small that the bound it gives is taken as none along the line."""
    return 1.0 / slope if abs(slope) > 1e-6 else 0.0


@njit(nogil=True, cache=True, inline="always")
def _grown(array):  # type: ignore[no-untyped-def]
    larger = np.empty(2 * array.size, array.dtype)
    larger[: array.size] = array
    return larger


@njit(nogil=True, cache=True)
def _crossings(  # type: ignore[no-untyped-def]
    steps,
    faces,
    start,
    entries,
    first,
    last,
    z_first,
    z_last,
    y_first,
    y_last,
    x_origin,
    x_count,
    lines,
    columns,
    signs,
):
    """Where the lines of a pencil cross the faces of one part: line in the pencil, first voxel at or beyond, turn.

    Crossings left of the box are put on its first voxel, those right of it are left out.
    """
    count = 0
    for entry in range(first, last):
        face = entries[entry]
        a, b, c = faces[face, 0] + start, faces[face, 1] + start, faces[face, 2] + start
        ay, az = np.int64(steps[a, 1]), np.int64(steps[a, 2])
        by, bz = np.int64(steps[b, 1]), np.int64(steps[b, 2])
        cy, cz = np.int64(steps[c, 1]), np.int64(steps[c, 2])
        normal_x = (by - ay) * (cz - az) - (cy - ay) * (bz - az)
        if normal_x == 0:
            continue
        low_z, high_z = min(az, bz, cz), max(az, bz, cz)
        row_first = max((low_z + HALF - 1) >> STEP_BITS, z_first)
        row_last = min((high_z - HALF - 1) >> STEP_BITS, z_last)
        if row_first > row_last:
            continue
        if (min(ay, by, cy) + HALF - 1) >> STEP_BITS > min((max(ay, by, cy) - HALF - 1) >> STEP_BITS, y_last):
            continue
        ax, bx, cx = np.int64(steps[a, 0]), np.int64(steps[b, 0]), np.int64(steps[c, 0])
        low_x, high_x = float(min(ax, bx, cx)), float(max(ax, bx, cx))
        normal_y = (bz - az) * (cx - ax) - (bx - ax) * (cz - az)
        normal_z = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        slope_y = -float(normal_y) / float(normal_x)
        slope_z = -float(normal_z) / float(normal_x)
        sign = 1 if normal_x < 0 else -1
        # Ends of the three edges in order of height; which of two at the same height comes first does not
        # matter.
        y0, z0, y1, z1, y2, z2 = ay, az, by, bz, cy, cz
        if z0 > z1:
            y0, z0, y1, z1 = y1, z1, y0, z0
        if z1 > z2:
            y1, z1, y2, z2 = y2, z2, y1, z1
            if z0 > z1:
                y0, z0, y1, z1 = y1, z1, y0, z0
        for row in range(row_first, row_last + 1):
            z = (row << STEP_BITS) + HALF
            one = _first_line(y0, z0, y2, z2, z)
            two = _first_line(y0, z0, y1, z1, z) if z < z1 else _first_line(y1, z1, y2, z2, z)
            for line in range(max(min(one, two), y_first), min(max(one, two) - 1, y_last) + 1):
                y = (line << STEP_BITS) + HALF
                x = float(ax) + slope_y * float(y - ay) + slope_z * float(z - az)
                x = min(max(x, low_x), high_x)
                column = np.int64(np.ceil((x - HALF) / STEPS_PER_VOXEL)) - x_origin
                if column >= x_count:
                    continue
                if count == lines.size:
                    lines, columns, signs = _grown(lines), _grown(columns), _grown(signs)
                lines[count] = (row - z_first) * PENCIL + line - y_first
                columns[count] = max(column, 0)
                signs[count] = sign
                count += 1
    return count, lines, columns, signs


@njit(nogil=True, cache=True)
def _sorted_crossings(count, lines, columns, signs, line_start, sorted_columns, sorted_signs):  # type: ignore[no-untyped-def]
    """The crossings by line and, on each, by column."""
    line_start[:] = 0
    for index in range(count):
        line_start[lines[index] + 1] += 1
    for line in range(PENCIL * PENCIL):
        line_start[line + 1] += line_start[line]
    if sorted_columns.size < count:
        sorted_columns, sorted_signs = np.empty(lines.size, np.int32), np.empty(lines.size, np.int8)
    # Filling from the back moves each line's end to its start, and insertion keeps it in order meanwhile.
    for index in range(count):
        line = lines[index]
        begin = line_start[line]
        place = begin
        column, sign = columns[index], signs[index]
        sorted_columns[place], sorted_signs[place] = column, sign
        line_start[line] = place + 1
    for line in range(PENCIL * PENCIL, 0, -1):
        line_start[line] = line_start[line - 1]
    line_start[0] = 0
    for line in range(PENCIL * PENCIL):
        begin, end = line_start[line], line_start[line + 1]
        for index in range(begin + 1, end):
            column, sign = sorted_columns[index], sorted_signs[index]
            place = index
            while place > begin and sorted_columns[place - 1] > column:
                sorted_columns[place], sorted_signs[place] = (
                    sorted_columns[place - 1],
                    sorted_signs[place - 1],
                )
                place -= 1
            sorted_columns[place], sorted_signs[place] = column, sign
    return sorted_columns, sorted_signs


@njit(nogil=True, cache=True)
def face_spreads(  # type: ignore[no-untyped-def]
    steps, faces, vertex_start, face_start, turns, merged, membranes_nm, nm_per_step, first, last, axes, leans, spreads
):
    """How far from its own normal a face can be the nearest one: the sine of that angle, for membraned parts.

    A point whose nearest place on the surface is on an edge or vertex lies, seen from there, within the
    normals around it. So if all normals around vertex v are within a(v) of an axis, a face with that vertex
    is nearest only for points within a(v) + (its own angle to the axis) of its normal. The angles of smooth
    meshes are small, and the band above a face hardly wider than the face. Where the bound reaches 90°, the
    sine is 1, which always holds.

    merged: (p,) 1 where faces that meet have vertices in common; axes: scratch, (n, 3); leans: scratch, (n,);
    spreads: out, (m,) uint8, 255 for a sine of 1, rounded up.
    """
    for part in range(first, last):
        if membranes_nm[part] <= 0:
            continue
        start = vertex_start[part]
        if turns[part] == 0 or merged[part] == 0:
            spreads[face_start[part] : face_start[part + 1]] = 255
            continue
        axes[start : vertex_start[part + 1]] = 0.0
        leans[start : vertex_start[part + 1]] = 1.0
        # The cosine of the largest angle at each vertex, then for each face the sum of two angles.
        for sweep in range(3):
            for face in range(face_start[part], face_start[part + 1]):
                a, b, c = faces[face, 0] + start, faces[face, 1] + start, faces[face, 2] + start
                ax, ay, az = np.int64(steps[a, 0]), np.int64(steps[a, 1]), np.int64(steps[a, 2])
                bx, by, bz = (
                    (steps[b, 0] - ax) * nm_per_step[0],
                    (steps[b, 1] - ay) * nm_per_step[1],
                    (steps[b, 2] - az) * nm_per_step[2],
                )
                cx, cy, cz = (
                    (steps[c, 0] - ax) * nm_per_step[0],
                    (steps[c, 1] - ay) * nm_per_step[1],
                    (steps[c, 2] - az) * nm_per_step[2],
                )
                nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
                length = np.sqrt(nx * nx + ny * ny + nz * nz)
                if length <= NO_AREA:
                    continue
                spread = 0.0
                for corner in range(3):
                    vertex = a if corner == 0 else (b if corner == 1 else c)
                    if sweep == 0:
                        axes[vertex, 0] += nx
                        axes[vertex, 1] += ny
                        axes[vertex, 2] += nz
                        continue
                    ox, oy, oz = axes[vertex, 0], axes[vertex, 1], axes[vertex, 2]
                    norm = np.sqrt(ox * ox + oy * oy + oz * oz) * length
                    cosine = (nx * ox + ny * oy + nz * oz) / norm if norm > 0 else -1.0
                    if sweep == 1:
                        leans[vertex] = min(leans[vertex], cosine)
                        continue
                    lean = leans[vertex]
                    if lean <= 0 or cosine <= 0:
                        spread = 1.0
                        continue
                    sine, lean_sine = np.sqrt(max(1 - cosine * cosine, 0.0)), np.sqrt(max(1 - lean * lean, 0.0))
                    beyond = cosine * lean - sine * lean_sine <= 0
                    spread = max(spread, 1.0 if beyond else sine * lean + cosine * lean_sine)
                if sweep == 2:
                    spreads[face] = np.uint8(min(np.ceil(255 * (spread + 1e-4)), 255.0))


@njit(nogil=True, cache=True, inline="always")
def _past(along, length):  # type: ignore[no-untyped-def]
    """How far a point is past the ends of an edge."""
    return -along if along < _ZERO else (along - length if along > length else _ZERO)


@njit(nogil=True, cache=True, inline="always")
def _approach(  # type: ignore[no-untyped-def]
    first,
    size,
    start,
    h_x,
    h,
    o1_x,
    o1,
    o2_x,
    o2,
    o3_x,
    o3,
    t1_x,
    t1,
    t2_x,
    t2,
    t3_x,
    t3,
    length1,
    length2,
    length3,
    end,
    reach_squared,
    half_bits,
    voxel,
    nearest,
):
    """Note the distances of LANES voxels along x to a triangle, where it is the nearest so far.

    The first voxel is at first * size + start from the triangle's first corner; those at `end` * size + start and
    beyond are left alone. All terms are linear along the line: the height h over the plane, and for each edge how far
    outside it (o) and how far along it (t) a point is. There are no branches, so that one instruction serves all lanes.
    """
    for lane in range(LANES):
        column = first + _F(lane)
        x = column * size + start
        height = h_x * x + h
        outside1, outside2, outside3 = o1_x * x + o1, o2_x * x + o2, o3_x * x + o3
        past1, past2, past3 = (
            _past(t1_x * x + t1, length1),
            _past(t2_x * x + t2, length2),
            _past(t3_x * x + t3, length3),
        )
        aside1 = outside1 * outside1 + past1 * past1
        aside2 = outside2 * outside2 + past2 * past2
        aside3 = outside3 * outside3 + past3 * past3
        aside = aside1 if aside1 < aside2 else aside2
        aside = aside if aside < aside3 else aside3
        above = (outside1 <= _ZERO) & (outside2 <= _ZERO) & (outside3 <= _ZERO)
        squared = height * height + (_ZERO if above else aside)
        # Unsigned, so that no index counts from the array's end.
        place = voxel + _U(lane)
        best = nearest[place]
        # Positive floats are in the order of their bits, so that one number holds distance and width, and one
        # comparison decides.
        found = (_U(np.float32(squared).view(np.uint32)) << _S32) | half_bits
        found = found if (squared <= reach_squared) & (column < end) else _FAR
        nearest[place] = found if found < best else best


@njit(nogil=True, cache=True)
def _nearest_surface(  # type: ignore[no-untyped-def]
    steps, faces, spreads, start, entries, first, last, turn, depth_nm, outer_nm, size_nm,
    z_first, z_last, y_first, y_last, x_origin, x_count, stride_z, stride_y, nearest, line_low, line_high,
):  # fmt: skip
    """The distance of the voxels in a part's narrow band to its surface, and where on each line they are.

    The band reaches from `depth_nm` inside to `outer_nm` outside. nearest: in and out, (voxels of the pencil,), the
    bits of two float32: above, the squared distance (nm²), infinite beforehand; below, half the voxel's extent along
    the normal of the nearest face (nm);
    line_low, line_high: out, (lines of the pencil,), the first and one past the last voxel that may have been reached.
    """
    line_low[:], line_high[:] = x_count, 0
    size_x, size_y, size_z = size_nm[0], size_nm[1], size_nm[2]
    step_x, step_y, step_z = size_x / STEPS_PER_VOXEL, size_y / STEPS_PER_VOXEL, size_z / STEPS_PER_VOXEL
    per_size = 1.0 / size_x
    reach = max(depth_nm, outer_nm)
    reach_squared = _F(reach * reach)
    # Signed distances from a face's plane, outward positive, between which the band lies.
    plane_low, plane_high = -depth_nm - SLACK_NM, outer_nm + SLACK_NM
    if turn < 0:
        plane_low, plane_high = -outer_nm - SLACK_NM, depth_nm + SLACK_NM
    elif turn == 0:
        plane_low, plane_high = -reach - SLACK_NM, reach + SLACK_NM
    for entry in range(first, last):
        face = entries[entry]
        a, b, c = faces[face, 0] + start, faces[face, 1] + start, faces[face, 2] + start
        ax, ay, az = np.int64(steps[a, 0]), np.int64(steps[a, 1]), np.int64(steps[a, 2])
        # In nm, relative to the first corner.
        bx, by, bz = (steps[b, 0] - ax) * step_x, (steps[b, 1] - ay) * step_y, (steps[b, 2] - az) * step_z
        cx, cy, cz = (steps[c, 0] - ax) * step_x, (steps[c, 1] - ay) * step_y, (steps[c, 2] - az) * step_z
        nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length <= NO_AREA:
            # Without area it is the edges that its neighbours have too.
            continue
        nx, ny, nz = nx / length, ny / length, nz / length
        # How far aside of the face the points can be that it is nearest to: height times the tangent of its spread.
        # That is bounded by margin - slope * height, so that the bound stays a plane.
        sine = spreads[face] / 255.0
        margin, slope = reach * sine + SLACK_NM, 0.0
        if turn != 0 and sine < 0.5:
            tangent = sine / np.sqrt(1 - sine * sine)
            slope = tangent * (depth_nm - outer_nm) / (depth_nm + outer_nm)
            margin = outer_nm * (tangent + slope) + 2 * SLACK_NM
            slope *= turn
        low_margin, high_margin = margin - slope * plane_low, margin - slope * plane_high
        # A voxel of index i is centred at i * size - base, relative to the first corner.
        low, high = _extent(nz, plane_low, plane_high, low_margin, high_margin)
        base = (az - HALF) * step_z
        row_first = max(np.int64(np.ceil((min(0.0, bz, cz) + low + base) / size_z)), z_first)
        row_last = min(np.int64(np.floor((max(0.0, bz, cz) + high + base) / size_z)), z_last)
        if row_first > row_last:
            continue
        low, high = _extent(ny, plane_low, plane_high, low_margin, high_margin)
        base = (ay - HALF) * step_y
        line_first = max(np.int64(np.ceil((min(0.0, by, cy) + low + base) / size_y)), y_first)
        line_last = min(np.int64(np.floor((max(0.0, by, cy) + high + base) / size_y)), y_last)
        if line_first > line_last:
            continue
        low, high = _extent(nx, plane_low, plane_high, low_margin, high_margin)
        base_x = (ax - HALF) * step_x
        low_x = max(min(0.0, bx, cx) + low, x_origin * size_x - base_x)
        high_x = min(max(0.0, bx, cx) + high, (x_origin + x_count - 1) * size_x - base_x)
        if low_x > high_x:
            continue
        base_column = base_x * per_size
        # Whole voxels from the first corner's, and from there to its centre: exact for any box.
        corner, first_x = ax >> STEP_BITS, _F((HALF - (ax & (STEPS_PER_VOXEL - 1))) * step_x)
        half_width = _F(0.5 * (abs(nx) * size_x + abs(ny) * size_y + abs(nz) * size_z))
        half_bits = _U(np.float32(half_width).view(np.uint32))
        # The face's own plane: u along its first edge, v across, corners (0, 0), (edge, 0), (c_u, c_v).
        edge = np.sqrt(bx * bx + by * by + bz * bz)
        ux, uy, uz = bx / edge, by / edge, bz / edge
        vx, vy, vz = ny * uz - nz * uy, nz * ux - nx * uz, nx * uy - ny * ux
        c_u = cx * ux + cy * uy + cz * uz
        c_v = cx * vx + cy * vy + cz * vz
        second = np.sqrt((c_u - edge) * (c_u - edge) + c_v * c_v)
        third = np.sqrt(c_u * c_u + c_v * c_v)
        d2u, d2v = (c_u - edge) / second, c_v / second
        d3u, d3v = -c_u / third, -c_v / third
        # In space, the outward normals of the second and third edge within the plane; that of the first is
        # -v.
        px, py, pz = ux * d2v - vx * d2u, uy * d2v - vy * d2u, uz * d2v - vz * d2u
        qx, qy, qz = ux * d3v - vx * d3u, uy * d3v - vy * d3u, uz * d3v - vz * d3u
        p_offset = edge * d2v
        # And their directions.
        r_x, s_x = ux * d2u + vx * d2v, ux * d3u + vx * d3v
        tilt = slope * nx
        per_n, per_v, per_p, per_q = _inverse(nx), _inverse(tilt - vx), _inverse(tilt + px), _inverse(tilt + qx)
        for row in range(row_first, row_last + 1):
            rz = float((row << STEP_BITS) + HALF - az) * step_z
            for line in range(line_first, line_last + 1):
                ry = float((line << STEP_BITS) + HALF - ay) * step_y
                plane = ny * ry + nz * rz
                v_line = vy * ry + vz * rz
                p_line = py * ry + pz * rz - p_offset
                q_line = qy * ry + qz * rz
                room = margin - slope * plane
                # The part of the line that is within the band and within the margin of the three edges.
                x_low, x_high = low_x, high_x
                if per_n > 0:
                    x_low, x_high = max(x_low, (plane_low - plane) * per_n), min(x_high, (plane_high - plane) * per_n)
                elif per_n < 0:
                    x_low, x_high = max(x_low, (plane_high - plane) * per_n), min(x_high, (plane_low - plane) * per_n)
                elif plane < plane_low or plane > plane_high:
                    continue
                if per_v > 0:
                    x_high = min(x_high, (room + v_line) * per_v)
                elif per_v < 0:
                    x_low = max(x_low, (room + v_line) * per_v)
                elif room + v_line < 0:
                    continue
                if per_p > 0:
                    x_high = min(x_high, (room - p_line) * per_p)
                elif per_p < 0:
                    x_low = max(x_low, (room - p_line) * per_p)
                elif room - p_line < 0:
                    continue
                if per_q > 0:
                    x_high = min(x_high, (room - q_line) * per_q)
                elif per_q < 0:
                    x_low = max(x_low, (room - q_line) * per_q)
                elif room - q_line < 0:
                    continue
                if x_low > x_high:
                    continue
                column_first = np.int64(np.ceil(x_low * per_size + base_column - 1e-6))
                column_last = np.int64(np.floor(x_high * per_size + base_column + 1e-6))
                column_first, column_last = max(column_first, x_origin), min(column_last, x_origin + x_count - 1)
                if column_first > column_last:
                    continue
                u_line = uy * ry + uz * rz
                r_line = d2u * (u_line - edge) + d2v * v_line
                s_line = d3u * (u_line - c_u) + d3v * (v_line - c_v)
                line_number = (row - z_first) * PENCIL + line - y_first
                line_low[line_number] = min(line_low[line_number], column_first - x_origin)
                line_high[line_number] = max(line_high[line_number], column_last + 1 - x_origin)
                voxel = (row - z_first) * stride_z + (line - y_first) * stride_y - x_origin
                for block in range(column_first, column_last + 1, LANES):
                    _approach(
                        _F(block - corner), _F(size_x), first_x, _F(nx), _F(plane), _F(-vx), _F(-v_line),
                        _F(px), _F(p_line), _F(qx), _F(q_line), _F(ux), _F(u_line), _F(r_x), _F(r_line), _F(s_x),
                        _F(s_line), _F(edge), _F(second), _F(third), _F(column_last + 1 - corner), reach_squared,
                        half_bits, _U(voxel + block), nearest,
                    )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _cover_line(nearest, owner, cover, part, thickness, fresh):  # type: ignore[no-untyped-def]
    """Put into `fresh` the membranes' share of each voxel with the part painted, and empty `nearest` again.

    The surface is taken as a plane across the voxel, and the share beyond it as linear in its distance from the
    voxel's centre. A voxel that was not reached has an infinite distance and is inside or outside altogether.
    """
    one, half = _F(1), _F(0.5)
    for voxel in range(nearest.size):
        found, before = nearest[voxel], cover[voxel]
        distance = math.sqrt(np.uint32(found >> _S32).view(np.float32))
        depth = distance if owner[voxel] == part else -distance
        per_width = half / np.uint32(found).view(np.float32)
        body = half + depth * per_width
        body = _ZERO if body < _ZERO else (one if body > one else body)
        lumen = half + (depth - thickness) * per_width
        lumen = _ZERO if lumen < _ZERO else (one if lumen > one else lumen)
        # Of the membranes painted before there remains what fits beside the body.
        beside = one - body
        beside = before if before < beside else beside
        fresh[voxel] = beside + (body - lumen)
        nearest[voxel] = _FAR


@njit(nogil=True, cache=True)
def paint_pencils(  # type: ignore[no-untyped-def]
    steps, faces, spreads, vertex_start, face_start, turns, membranes_nm, size_nm, box, entries, entry_start,
    first_pencil, last_pencil, part_instance, part_organelle, part_class, part_material, instances, organelles, classes,
    materials, membrane,
):  # fmt: skip
    """Voxelize pencils first_pencil … last_pencil - 1 of a box into the five arrays (z, y, x).

    The parts are painted in their order. A voxel belongs to the last part that its centre lies in. A part
    takes its share of a boundary voxel away from the membranes painted before, and adds its own membrane's
    share.
    """
    depth_shape, height_shape, x_count = box[3], box[4], box[5]
    pencils_y = (height_shape + PENCIL - 1) // PENCIL
    # An odd number of cache lines from line to line and from plane to plane, lest neighbours evict each other.
    stride_y = 16 * (((x_count + 15) // 16) | 1)
    stride_z = PENCIL * stride_y + 16 * 5
    voxels = PENCIL * stride_z + LANES
    owner = np.empty(voxels, np.int32)
    cover = np.empty(voxels, np.float32)
    nearest = np.full(voxels, _FAR, np.uint64)
    fresh = np.empty(voxels, np.float32)
    line_low, line_high = np.empty(PENCIL * PENCIL, np.int64), np.empty(PENCIL * PENCIL, np.int64)
    lines, columns, signs = np.empty(4096, np.int32), np.empty(4096, np.int32), np.empty(4096, np.int8)
    sorted_columns, sorted_signs = np.empty(4096, np.int32), np.empty(4096, np.int8)
    line_start = np.empty(PENCIL * PENCIL + 1, np.int64)
    diagonal = 0.5 * np.sqrt(size_nm[0] * size_nm[0] + size_nm[1] * size_nm[1] + size_nm[2] * size_nm[2])
    for pencil in range(first_pencil, last_pencil):
        z_first = (pencil // pencils_y) * PENCIL
        y_first = (pencil % pencils_y) * PENCIL
        z_last = min(z_first + PENCIL, depth_shape) - 1
        y_last = min(y_first + PENCIL, height_shape) - 1
        owner[:] = -1
        cover[:] = 0.0
        entry = entry_start[pencil]
        part = 0
        while entry < entry_start[pencil + 1]:
            face = entries[entry]
            part = np.searchsorted(face_start, face, side="right") - 1
            stop = entry
            while stop < entry_start[pencil + 1] and entries[stop] < face_start[part + 1]:
                stop += 1
            start = vertex_start[part]
            count, lines, columns, signs = _crossings(
                steps, faces, start, entries, entry, stop, z_first + box[0], z_last + box[0], y_first + box[1],
                y_last + box[1], box[2], x_count, lines, columns, signs,
            )  # fmt: skip
            sorted_columns, sorted_signs = _sorted_crossings(
                count, lines, columns, signs, line_start, sorted_columns, sorted_signs
            )
            even_odd = turns[part] == 0
            thickness = membranes_nm[part]
            # Twice along the spans: the first time they are claimed, the second time emptied of older
            # membranes, for in between the boundary voxels need both.
            for again in range(2):
                if again == 1 and thickness > 0:
                    _nearest_surface(
                        steps, faces, spreads, start, entries, entry, stop, turns[part], thickness + diagonal, diagonal,
                        size_nm, z_first + box[0], z_last + box[0], y_first + box[1], y_last + box[1], box[2],
                        x_count, stride_z, stride_y, nearest, line_low, line_high,
                    )  # fmt: skip
                    for line in range(PENCIL * PENCIL):
                        low = (line // PENCIL) * stride_z + (line % PENCIL) * stride_y
                        low, high = low + line_low[line], low + line_high[line]
                        if low < high:
                            _cover_line(
                                nearest[low:high], owner[low:high], cover[low:high], np.int32(part), _F(thickness),
                                fresh[low:high],
                            )  # fmt: skip
                for line in range(PENCIL * PENCIL if count > 0 else 0):
                    winding = 0
                    for index in range(line_start[line], line_start[line + 1]):
                        winding = winding ^ 1 if even_odd else winding + sorted_signs[index]
                        if winding != 0:
                            begin = (line // PENCIL) * stride_z + (line % PENCIL) * stride_y
                            low = begin + sorted_columns[index]
                            last = index + 1 == line_start[line + 1]
                            high = begin + (x_count if last else sorted_columns[index + 1])
                            if again == 0:
                                owner[low:high] = part
                            else:
                                cover[low:high] = 0.0
                if again == 1 and thickness > 0:
                    for line in range(PENCIL * PENCIL):
                        low = (line // PENCIL) * stride_z + (line % PENCIL) * stride_y
                        low, high = low + line_low[line], low + line_high[line]
                        if low < high:
                            cover[low:high] = fresh[low:high]
            entry = stop
        for z in range(z_first, z_last + 1):
            for y in range(y_first, y_last + 1):
                voxel = (z - z_first) * stride_z + (y - y_first) * stride_y
                for x in range(x_count):
                    membrane[z, y, x] = np.uint8(cover[voxel + x] * np.float32(255.0) + np.float32(0.5))
                x = 0
                while x < x_count:
                    part = owner[voxel + x]
                    end = x + 1
                    while end < x_count and owner[voxel + end] == part:
                        end += 1
                    instances[z, y, x:end] = part_instance[part] if part >= 0 else 0
                    organelles[z, y, x:end] = part_organelle[part] if part >= 0 else 0
                    classes[z, y, x:end] = part_class[part] if part >= 0 else 0
                    materials[z, y, x:end] = part_material[part] if part >= 0 else 0
                    x = end
